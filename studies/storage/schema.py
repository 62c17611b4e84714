"""The tables of a study database, in which Optuna has its own."""

import datetime
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.schema import SchemaItem


class UtcTime(sa.TypeDecorator[datetime.datetime]):
    """A point in time, stored in UTC because SQLite has no time zones.

    A stored text that is not a time is returned unchanged, for `decoding.fetch` to report.
    """

    impl = sa.DateTime
    cache_ok = True

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[Any], datetime.datetime | None] | None:
        """Return what converts values that are read; see `sqlalchemy.types.TypeDecorator`."""
        convert = super().result_processor(dialect, coltype)
        assert convert is not None, "process_result_value is defined"

        def convert_or_keep(value: Any) -> Any:
            try:
                return convert(value)
            except (TypeError, ValueError):
                return value

        return convert_or_keep

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

# The processes that have worked on trials. The clock of the database determines `seen_at`.
PROCESSES = sa.Table(
    "nas_processes",
    METADATA,
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started", sa.Text, nullable=False),
    sa.Column("boot", sa.Text, nullable=False),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("lease_s", sa.Double, nullable=False),
    sa.Column("beats", sa.Integer, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
    # How many processes the kernel had killed for lack of memory before this one began: on the
    # whole machine, and in the control group of this process. See `KillCounts`.
    sa.Column("oom_kills", sa.BigInteger),
    sa.Column("group_oom_kills", sa.BigInteger),
    sa.Column("oom_group", sa.Text),
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
    # For a candidate that was matched to a latency: what was predicted for it at that time.
    sa.Column("predicted_latency", sa.Double),
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
    # How often the process died in the present stage: `deaths` while the kernel ran out of memory,
    # `kills` otherwise.
    sa.Column("deaths", sa.Integer, nullable=False),
    sa.Column("kills", sa.Integer, nullable=False, server_default="0"),
    sa.Column("progress", sa.Double),
    sa.Column("progress_text", sa.Text),
    sa.Column("process", sa.ForeignKey(PROCESSES.c.token)),
    sa.Column("started_at", UtcTime, nullable=False),
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
    sa.Column("process", sa.ForeignKey(PROCESSES.c.token)),
    sa.Column("ended_at", UtcTime),
)
