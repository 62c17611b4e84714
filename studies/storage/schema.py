"""The tables of a study database, in which Optuna has its own, and their migrations."""

import datetime
from collections.abc import Callable
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.schema import SchemaItem

Migration: TypeAlias = Callable[[sa.Connection], None]


class NotBegun(ValueError):
    """There is no database yet, or it has no tables: no study has been started in it."""


class UtcTime(sa.TypeDecorator[datetime.datetime]):
    """A point in time, stored in UTC because SQLite has no time zones."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(
        self, value: datetime.datetime | None, dialect: Dialect
    ) -> datetime.datetime | None:
        """Convert a value that is written; see `sqlalchemy.types.TypeDecorator`."""
        return None if value is None else value.astimezone(datetime.UTC).replace(tzinfo=None)

    def process_result_value(
        self, value: datetime.datetime | None, dialect: Dialect
    ) -> datetime.datetime | None:
        """Convert a value that is read; see `sqlalchemy.types.TypeDecorator`."""
        return None if value is None else value.replace(tzinfo=datetime.UTC)


METADATA = sa.MetaData()

VERSION = sa.Table("nas_version", METADATA, sa.Column("version", sa.Integer, primary_key=True))

ARCHITECTURES = sa.Table(
    "nas_architectures",
    METADATA,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("layout", sa.Text, nullable=False),
    sa.Column("parameters", sa.BigInteger, nullable=False),
    sa.Column("json", sa.Text, nullable=False),
)

# Evaluations belong to no study: a measurement or training serves every later study as well.
EVALUATIONS = sa.Table(
    "nas_evaluations",
    METADATA,
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("architecture", sa.ForeignKey(ARCHITECTURES.c.hash), primary_key=True),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("curve", sa.Text, nullable=False),  # JSON: [[tokens, loss], ...]
    sa.Column("evaluated_at", UtcTime, nullable=False),
)


def _evaluation_key() -> list[SchemaItem]:
    """Return the columns that identify the evaluation that a row belongs to."""
    return [
        sa.Column("fingerprint", sa.Text, primary_key=True),
        sa.Column("architecture", sa.Text, primary_key=True),
        sa.ForeignKeyConstraint(
            ["fingerprint", "architecture"],
            [EVALUATIONS.c.fingerprint, EVALUATIONS.c.architecture],
        ),
        sa.Column("position", sa.Integer, primary_key=True),
    ]


# How long reference models take. The estimate changes with every timing, and with it the scores.
CALIBRATIONS = sa.Table(
    "nas_calibrations",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("workload", sa.Text, nullable=False),
    sa.Column("timings", sa.Text, nullable=False),  # JSON: [{"at": seconds, ...}, ...]
    sa.Column("milliseconds", sa.Double, nullable=False),
    sa.Column("low", sa.Double, nullable=False),
    sa.Column("high", sa.Double, nullable=False),
    # How far repeated measurements of one candidate differ on this device.
    sa.Column("repeats", sa.Integer, nullable=False),
    sa.Column("variance", sa.Double, nullable=False),
    sa.UniqueConstraint("device", "reference", "workload"),
)

SCORES = sa.Table(
    "nas_scores",
    METADATA,
    *_evaluation_key(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("low", sa.Double),
    sa.Column("high", sa.Double),
    sa.Column("provisional", sa.Boolean, nullable=False, server_default=sa.false()),
    # For a time: the ratio that it was computed from, in its unit per ms of the reference model.
    sa.Column("calibration", sa.ForeignKey(CALIBRATIONS.c.id)),
    sa.Column("ratio", sa.Double),
    sa.Column("ratio_low", sa.Double),
    sa.Column("ratio_high", sa.Double),
)

ENVIRONMENTS = sa.Table(
    "nas_environments",
    METADATA,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("json", sa.Text, nullable=False),
)

MEASUREMENTS = sa.Table(
    "nas_measurements",
    METADATA,
    *_evaluation_key(),
    sa.Column("workload", sa.Text, nullable=False),
    sa.Column("runtime", sa.Text, nullable=False),
    sa.Column("threads", sa.Integer, nullable=False),
    sa.Column("cores", sa.Text, nullable=False),  # JSON: [core, ...]
    sa.Column("samples_ns", sa.Text, nullable=False),  # JSON: [ns, ...]
    sa.Column("warmup_ns", sa.Text, nullable=False),
    sa.Column("load_ns", sa.BigInteger, nullable=False),
    sa.Column("peak_memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("environment", sa.ForeignKey(ENVIRONMENTS.c.hash), nullable=False),
    sa.Column("window", sa.Integer),
    sa.Column("empty_memory_bytes", sa.BigInteger),
    sa.Column("loaded_memory_bytes", sa.BigInteger),
    sa.Column("model_bytes", sa.BigInteger),
    sa.Column("environment_after", sa.ForeignKey(ENVIRONMENTS.c.hash)),
    sa.Column("disturbance", sa.Text),  # JSON: {"steal": fraction, ...}
    sa.Column("waited_ns", sa.Text),  # JSON: [ns, ...], one per sample
    sa.Column("measured_at", sa.Double),  # seconds since 1970
    # For a measurement of the reference model: the position of the one it was interleaved with.
    sa.Column("reference_of", sa.Integer),
)

STUDIES = sa.Table(
    "nas_studies",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)

# Draws that a rule of the space rejected. They are no trials, so only their number is stored.
REJECTIONS = sa.Table(
    "nas_rejections",
    METADATA,
    sa.Column("study", sa.ForeignKey(STUDIES.c.id), primary_key=True),
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("draws", sa.Integer, nullable=False),
)

TRIALS = sa.Table(
    "nas_trials",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study", sa.ForeignKey(STUDIES.c.id), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("reference", sa.Text),
    sa.Column("architecture", sa.ForeignKey(ARCHITECTURES.c.hash)),
    sa.Column("optuna_number", sa.Integer),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("stage", sa.Text),
    sa.Column("failure", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("duplicate_of", sa.Integer),
    sa.Column("estimated_loss", sa.Double),
    # For a candidate above a limit, JSON: the lowest value that each such score may have, by name.
    sa.Column("exceeded", sa.Text),
    # Increases with every change of an ended trial or of its scores.
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),
    sa.Column("curve", sa.Text, nullable=False),
    sa.Column("deaths", sa.Integer, nullable=False),
    sa.Column("progress", sa.Double),
    sa.Column("progress_text", sa.Text),
    sa.Column("host", sa.Text),
    sa.Column("pid", sa.Integer),
    sa.Column("process_started", sa.Text),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.UniqueConstraint("study", "kind", "number"),
    sa.Index("nas_trials_by_architecture", "study", "architecture"),
)

STAGES = sa.Table(
    "nas_stages",
    METADATA,
    sa.Column("trial", sa.ForeignKey(TRIALS.c.id), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
)

# Confirmation stages: training runs and timings that confirm a trial. Their evaluations are in the
# cache, like those of a trial's stages; failures are stored here.
REPEATS = sa.Table(
    "nas_repeats",
    METADATA,
    sa.Column("trial", sa.ForeignKey(TRIALS.c.id), primary_key=True),
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("seed", sa.BigInteger),
    sa.Column("token_budget", sa.BigInteger),
    sa.Column("seconds", sa.Double),
    sa.Column("failure", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("process_started", sa.Text, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
)


def _pair_measurements(connection: sa.Connection) -> None:
    """Add interleaved reference measurements, windows, details of memory, and disturbances."""
    columns = (
        '"window" INTEGER',
        "empty_memory_bytes BIGINT",
        "loaded_memory_bytes BIGINT",
        "model_bytes BIGINT",
        "environment_after TEXT REFERENCES nas_environments (hash)",
        "disturbance TEXT",
        "reference_of INTEGER",
    )
    for column in columns:
        connection.execute(sa.text(f"ALTER TABLE nas_measurements ADD COLUMN {column}"))


def _add_repeats(connection: sa.Connection) -> None:
    """Add the table of confirmation stages."""
    metadata = sa.MetaData()
    trials = sa.Table("nas_trials", metadata, sa.Column("id", sa.Integer, primary_key=True))
    repeats = sa.Table(
        "nas_repeats",
        metadata,
        sa.Column("trial", sa.ForeignKey(trials.c.id), primary_key=True),
        sa.Column("fingerprint", sa.Text, primary_key=True),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger),
        sa.Column("token_budget", sa.BigInteger),
        sa.Column("seconds", sa.Double),
        sa.Column("failure", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("process_started", sa.Text, nullable=False),
        sa.Column("seen_at", sa.DateTime, nullable=False),
        sa.Column("ended_at", sa.DateTime),
    )
    repeats.create(connection)


def _add_calibrations(connection: sa.Connection) -> None:
    """Add calibrations, waiting times, provisional scores, and changes of ended trials."""
    metadata = sa.MetaData()
    calibrations = sa.Table(
        "nas_calibrations",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("workload", sa.Text, nullable=False),
        sa.Column("timings", sa.Text, nullable=False),
        sa.Column("milliseconds", sa.Double, nullable=False),
        sa.Column("low", sa.Double, nullable=False),
        sa.Column("high", sa.Double, nullable=False),
        sa.Column("repeats", sa.Integer, nullable=False),
        sa.Column("variance", sa.Double, nullable=False),
        sa.UniqueConstraint("device", "reference", "workload"),
    )
    calibrations.create(connection)
    double = sa.Double().compile(dialect=connection.dialect)
    columns = {
        "nas_measurements": ("waited_ns TEXT", f"measured_at {double}"),
        "nas_scores": (
            "provisional BOOLEAN NOT NULL DEFAULT FALSE",
            "calibration INTEGER REFERENCES nas_calibrations (id)",
            f"ratio {double}",
            f"ratio_low {double}",
            f"ratio_high {double}",
        ),
        "nas_trials": ("exceeded TEXT", "revision INTEGER NOT NULL DEFAULT 0"),
    }
    for table, added in columns.items():
        for column in added:
            connection.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN {column}"))


# Step n migrates from version n + 1 to n + 2. A released step is never edited.
MIGRATIONS: tuple[Migration, ...] = (_pair_measurements, _add_repeats, _add_calibrations)

# The tables of Optuna 5. A database with these, ours and no others is a study database.
_OPTUNA_TABLES = frozenset(
    {
        "alembic_version",
        "studies",
        "study_directions",
        "study_system_attributes",
        "study_user_attributes",
        "trial_heartbeats",
        "trial_intermediate_values",
        "trial_params",
        "trial_system_attributes",
        "trial_user_attributes",
        "trial_values",
        "trials",
        "version_info",
    }
)


def prepare(connection: sa.Connection, *, create: bool) -> None:
    """Create the tables in an empty database, or bring those of an older release up to date.

    Args:
        connection: An open transaction.
        create: Whether to create the tables in an empty database.

    Raises:
        ValueError: The database belongs to another program or a newer release, or is empty and
            `create` is False. The message completes a sentence that starts with the database.
    """
    latest = 1 + len(MIGRATIONS)
    version = _version(connection)
    if version is None and not create:
        raise ValueError("holds no study")
    if version is None:
        METADATA.create_all(connection)
        connection.execute(VERSION.insert().values(version=latest))
        return
    if version > latest:
        raise ValueError(_newer_release(version, latest))
    for step in MIGRATIONS[version - 1 :]:
        step(connection)
    if version < latest:
        connection.execute(VERSION.update().values(version=latest))


def check(connection: sa.Connection) -> None:
    """Check that the tables exist and are up to date.

    Args:
        connection: An open transaction.

    Raises:
        NotBegun: There are no tables.
        ValueError: The tables are of an older or newer release, or of another program. The message
            completes a sentence that starts with the database.
    """
    latest = 1 + len(MIGRATIONS)
    version = _version(connection)
    if version is None:
        raise NotBegun("holds no study; `nas run FILE` creates one")
    if version > latest:
        raise ValueError(_newer_release(version, latest))
    if version < latest:
        raise ValueError("has tables of an older release; `nas status STUDY` updates them")


def _newer_release(version: int, latest: int) -> str:
    return (
        f"has tables of version {version} from a newer release; this release supports versions up "
        f"to {latest}"
    )


def _version(connection: sa.Connection) -> int | None:
    """Return the version of the tables; None if there are none yet."""
    tables = set(sa.inspect(connection).get_table_names())
    foreign = {name for name in tables - _OPTUNA_TABLES if not name.startswith("nas_")}
    if foreign:
        raise ValueError(f"belongs to another program: it holds a table '{min(foreign)}'")
    if not any(name.startswith("nas_") for name in tables):
        if tables and "version_info" not in tables:
            raise ValueError(f"belongs to another program: it holds a table '{min(tables)}'")
        return None
    versions: list[int] = []
    if VERSION.name in tables:
        versions = list(connection.scalars(sa.select(VERSION.c.version)))
    if len(versions) != 1:
        raise ValueError("is damaged: it has tables of a study but no version")
    return versions[0]
