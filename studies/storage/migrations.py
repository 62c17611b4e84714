"""Creates the tables of a database, and brings those of an earlier release up to date."""

from collections.abc import Callable
from typing import TypeAlias

import sqlalchemy as sa

from studies.storage.schema import METADATA, VERSION

Migration: TypeAlias = Callable[[sa.Connection], None]

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


class NotBegun(ValueError):
    """There is no database yet, or it has no tables: no study has been started in it."""


class OlderRelease(ValueError):
    """The tables are of an older release."""


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
        OlderRelease: The tables are of an older release.
        ValueError: The tables are of a newer release, or of another program. The message completes
            a sentence that starts with the database.
    """
    latest = 1 + len(MIGRATIONS)
    version = _version(connection)
    if version is None:
        raise NotBegun("holds no study; `nas run FILE` creates one")
    if version > latest:
        raise ValueError(_newer_release(version, latest))
    if version < latest:
        raise OlderRelease("has tables of an older release; `nas status STUDY` updates them")


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
    versions: list[object] = []
    if VERSION.name in tables:
        versions = list(connection.scalars(sa.select(VERSION.c.version)))
    if len(versions) != 1 or not isinstance(versions[0], int) or versions[0] < 1:
        raise ValueError("is damaged: it has tables of a study but no version")
    return versions[0]


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


def _add_processes(connection: sa.Connection) -> None:
    """Move the processes that own trials and confirmation jobs to a table of their own.

    A process of an earlier release that is still running cannot be looked up and gives no signs of
    life, so it is soon considered dead.
    """
    double = sa.Double().compile(dialect=connection.dialect)
    time = sa.DateTime().compile(dialect=connection.dialect)
    connection.execute(
        sa.text(
            "CREATE TABLE nas_processes (token TEXT NOT NULL PRIMARY KEY, host TEXT NOT NULL, "
            "pid INTEGER NOT NULL, started TEXT NOT NULL, boot TEXT NOT NULL, "
            f"namespace TEXT NOT NULL, lease_s {double} NOT NULL, beats INTEGER NOT NULL, "
            f"seen_at {time} NOT NULL, oom_kills BIGINT)"
        )
    )
    connection.execute(
        sa.text("ALTER TABLE nas_trials ADD COLUMN kills INTEGER NOT NULL DEFAULT 0")
    )
    key = "host || '/' || pid || '/' || process_started"
    for table in ("nas_trials", "nas_repeats"):
        for statement in (
            f"INSERT INTO nas_processes SELECT {key}, host, pid, process_started, '', '', 60, 0, "  # noqa: S608
            f"max(seen_at), NULL FROM {table} WHERE pid IS NOT NULL AND {key} NOT IN "
            "(SELECT token FROM nas_processes) GROUP BY host, pid, process_started",
            f"ALTER TABLE {table} ADD COLUMN process TEXT REFERENCES nas_processes (token)",
            f"UPDATE {table} SET process = {key} WHERE pid IS NOT NULL",  # noqa: S608
            *(
                f"ALTER TABLE {table} DROP COLUMN {column}"
                for column in ("host", "pid", "process_started", "seen_at")
            ),
        ):
            connection.execute(sa.text(statement))


def _count_kills_by_group(connection: sa.Connection) -> None:
    """Add the kernel's kills in the control group of a process, and which group that is."""
    for column in ("group_oom_kills BIGINT", "oom_group TEXT"):
        connection.execute(sa.text(f"ALTER TABLE nas_processes ADD COLUMN {column}"))


def _add_predicted_latency(connection: sa.Connection) -> None:
    """Add the predicted latency of candidates that were matched to one."""
    double = sa.Double().compile(dialect=connection.dialect)
    connection.execute(sa.text(f"ALTER TABLE nas_trials ADD COLUMN predicted_latency {double}"))


# Step n migrates from version n + 1 to n + 2. A released step is never edited.
MIGRATIONS: tuple[Migration, ...] = (
    _pair_measurements,
    _add_repeats,
    _add_calibrations,
    _add_processes,
    _count_kills_by_group,
    _add_predicted_latency,
)
