"""Evaluations and architectures as rows of the database: scores, raw samples, learning curves.

Every function runs in the caller's transaction.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from evaluators.calibration import CalibrationKey
from evaluators.evaluator import CalibratedRatio, CurvePoint, Evaluation, Score
from evaluators.scores import is_timed
from hardware.environment import Environment
from hardware.measurement import Measurement, parse_workload
from search_space.architecture import Architecture, architecture_hash, to_json
from search_space.costs import parameter_counts
from search_space.strict import parse_json
from studies.storage.calibrations import (
    calibration_id,
    read_calibration,
    read_calibration_keys,
)
from studies.storage.database import Database
from studies.storage.decoding import (
    CORES,
    CURVE,
    DISTURBANCE,
    SAMPLES_NS,
    WAITED_NS,
    WARMUP_NS,
    BadRow,
    check_architecture,
    decode_environment,
    fetch,
    row_name,
)
from studies.storage.schema import ARCHITECTURES, ENVIRONMENTS, EVALUATIONS, MEASUREMENTS, SCORES


def save_architecture(
    database: Database, connection: sa.Connection, architecture: Architecture
) -> str:
    """Store an architecture, unless it is there already, and return its hash."""
    digest = architecture_hash(architecture)
    database.insert_new(
        connection,
        ARCHITECTURES,
        hash=digest,
        layout=architecture.layout,
        parameters=parameter_counts(architecture).total,
        json=to_json(architecture),
    )
    return digest


def read_architecture(connection: sa.Connection, digest: str) -> Architecture:
    """Return the architecture with this hash, which another row refers to."""
    name = row_name(ARCHITECTURES.name, {"hash": digest})
    rows = fetch(connection, sa.select(ARCHITECTURES.c.json).where(ARCHITECTURES.c.hash == digest))
    if not rows:
        raise BadRow(f"{name} is missing")
    check_architecture(rows[0].json, digest)
    try:
        architecture = parse_json(Architecture, rows[0].json, "json")
    except ValueError as error:
        raise BadRow(f"{name}: {error}") from None
    return architecture


def read_evaluation(
    connection: sa.Connection, fingerprint: str, architecture: str
) -> Evaluation | None:
    """Return a stored evaluation.

    Args:
        connection: An open transaction.
        fingerprint: The fingerprint of the evaluator.
        architecture: The hash of the architecture.

    Returns:
        The evaluation, or None if none is stored.
    """

    def rows(table: sa.Table) -> sa.Select[Any]:
        chosen = (table.c.fingerprint == fingerprint) & (table.c.architecture == architecture)
        return sa.select(table).where(chosen)

    found = fetch(connection, rows(EVALUATIONS))
    if not found:
        return None
    (evaluation,) = found
    scores = fetch(
        connection, rows(SCORES).with_only_columns(*SCORE_COLUMNS).order_by(SCORES.c.position)
    )
    keys = read_calibration_keys(connection)
    before, after = ENVIRONMENTS.alias(), ENVIRONMENTS.alias()
    measurements = fetch(
        connection,
        rows(MEASUREMENTS)
        .add_columns(before.c.json.label("before_json"), after.c.json.label("after_json"))
        .join(before, MEASUREMENTS.c.environment == before.c.hash)
        .outerjoin(after, MEASUREMENTS.c.environment_after == after.c.hash)
        .order_by(MEASUREMENTS.c.position),
        optional=(after,),
    )
    return Evaluation(
        scores=tuple(read_score(row, keys) for row in scores),
        seconds=evaluation.seconds,
        measurements=_read_measurements(measurements),
        curve=read_curve(evaluation.curve, fingerprint),
    )


def count_runs(connection: sa.Connection, fingerprint: str, architecture: str) -> int:
    """Return how often an architecture was measured: the most measurements of one workload."""
    of_workload = (
        sa.select(sa.func.count().label("runs"))
        .where(MEASUREMENTS.c.fingerprint == fingerprint)
        .where(MEASUREMENTS.c.architecture == architecture)
        .where(MEASUREMENTS.c.reference_of.is_(None))
        .group_by(MEASUREMENTS.c.workload)
        .subquery()
    )
    return connection.scalar(sa.select(sa.func.max(of_workload.c.runs))) or 0


def insert_details(
    database: Database, connection: sa.Connection, key: Mapping[str, str], evaluation: Evaluation
) -> None:
    """Insert the scores and measurements of an evaluation.

    Args:
        database: The database.
        connection: An open transaction.
        key: The values of the columns `fingerprint` and `architecture`.
        evaluation: The evaluation.
    """
    for position, score in enumerate(evaluation.scores):
        row = {**key, "position": position} | _score_row(connection, score)
        connection.execute(SCORES.insert().values(row))
    for position, placed in enumerate(_placed(evaluation.measurements)):
        row = {**key, "position": position} | _measurement_row(database, connection, placed)
        connection.execute(MEASUREMENTS.insert().values(row))


SCORE_COLUMNS = (
    SCORES.c.name,
    SCORES.c.value,
    SCORES.c.unit,
    SCORES.c.low,
    SCORES.c.high,
    SCORES.c.provisional,
    SCORES.c.calibration,
    SCORES.c.ratio,
    SCORES.c.ratio_low,
    SCORES.c.ratio_high,
)


def read_score(row: Sequence[Any], keys: Mapping[int, CalibrationKey]) -> Score:
    """Read the columns SCORE_COLUMNS of a row.

    Args:
        row: The values, in the order of the columns.
        keys: What the calibrations of the database apply to, by id.
    """
    name, value, unit, low, high, provisional, calibration, ratio, ratio_low, ratio_high = row
    if calibration is not None and (calibration not in keys or ratio is None):
        fault = "is missing" if calibration not in keys else "needs a ratio"
        raise BadRow(f"{SCORES.name}: score '{name}': calibration {calibration} {fault}")
    if low is not None and low <= 0 and is_timed(name):
        raise BadRow(f"{SCORES.name}: score '{name}': low {low} is not above 0")
    return Score(
        name=name,
        value=value,
        unit=unit,
        low=low,
        high=high,
        provisional=provisional,
        measured=None
        if calibration is None
        else CalibratedRatio(
            calibration=keys[calibration], ratio=ratio, low=ratio_low, high=ratio_high
        ),
    )


def curve_text(curve: Sequence[CurvePoint]) -> str:
    """Return a learning curve as the JSON text that the database stores."""
    return json.dumps([[point.tokens, point.loss] for point in curve])


def read_curve(text: str, fingerprint: str) -> tuple[CurvePoint, ...]:
    """Read the learning curve of an evaluation; the inverse of `curve_text`."""
    points = CURVE.read(text, fingerprint=fingerprint)
    return tuple(CurvePoint(tokens=tokens, loss=loss) for tokens, loss in points)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A measurement as a row of its evaluation; see `reference_of` in the schema."""

    measurement: Measurement
    reference_of: int | None


def _placed(measurements: Sequence[Measurement]) -> list[_Placed]:
    """Return the measurements in order, followed by those of their reference models."""
    rows = [_Placed(measurement=measurement, reference_of=None) for measurement in measurements]
    for position, row in enumerate(rows):  # the list grows during iteration
        if row.measurement.reference is not None:
            rows.append(_Placed(measurement=row.measurement.reference, reference_of=position))
    return rows


def _read_measurements(rows: Sequence[sa.Row[Any]]) -> tuple[Measurement, ...]:
    """Read the measurements, each with its reference model, whose row comes after it."""
    found: list[Measurement] = []
    references: dict[int, Measurement] = {}
    for row in reversed(rows):
        measurement = _read_measurement(row, references.get(row.position))
        if row.reference_of is None:
            found.append(measurement)
        else:
            references[row.reference_of] = measurement
    return tuple(reversed(found))


def _read_measurement(row: sa.Row[Any], reference: Measurement | None) -> Measurement:
    key = {"fingerprint": row.fingerprint, "position": row.position}
    try:
        return _decode_measurement(row, key, reference)
    except ValueError as error:
        raise BadRow(f"{row_name(MEASUREMENTS.name, key)}: {error}") from None


def _decode_measurement(
    row: sa.Row[Any], key: Mapping[str, Any], reference: Measurement | None
) -> Measurement:
    return Measurement(
        workload=parse_workload(row.workload),
        runtime=row.runtime,
        threads=row.threads,
        cores=CORES.read(row.cores, **key),
        samples_ns=SAMPLES_NS.read(row.samples_ns, **key),
        warmup_ns=WARMUP_NS.read(row.warmup_ns, **key),
        load_ns=row.load_ns,
        peak_memory_bytes=row.peak_memory_bytes,
        environment=decode_environment(row.before_json, row.environment),
        window=row.window,
        empty_memory_bytes=row.empty_memory_bytes,
        loaded_memory_bytes=row.loaded_memory_bytes,
        model_bytes=row.model_bytes,
        environment_after=None
        if row.after_json is None
        else decode_environment(row.after_json, row.environment_after),
        disturbance=None if row.disturbance is None else DISTURBANCE.read(row.disturbance, **key),
        waited_ns=None if row.waited_ns is None else WAITED_NS.read(row.waited_ns, **key),
        measured_at=row.measured_at,
        reference=reference,
    )


def _score_row(connection: sa.Connection, score: Score) -> dict[str, Any]:
    row = {name: getattr(score, name) for name in ("name", "value", "unit", "low", "high")}
    row["provisional"] = score.provisional
    measured = score.measured
    if measured is None:
        return row
    row["calibration"] = calibration_id(connection, measured.calibration)
    row["ratio"], row["ratio_low"], row["ratio_high"] = measured.ratio, measured.low, measured.high
    # Another process may have changed the calibration since this score was computed.
    calibration = read_calibration(connection, measured.calibration)
    assert calibration is not None, "its timings were added before the score was computed"
    row["value"], row["low"], row["high"] = calibration.convert(
        measured.ratio, measured.low, measured.high
    )
    return row


def _measurement_row(
    database: Database, connection: sa.Connection, placed: _Placed
) -> dict[str, Any]:
    measurement, disturbance = placed.measurement, placed.measurement.disturbance
    return {
        "workload": str(measurement.workload),
        "runtime": measurement.runtime,
        "threads": measurement.threads,
        "cores": json.dumps(measurement.cores),
        "samples_ns": json.dumps(measurement.samples_ns),
        "warmup_ns": json.dumps(measurement.warmup_ns),
        "load_ns": measurement.load_ns,
        "peak_memory_bytes": measurement.peak_memory_bytes,
        "environment": _save_environment(database, connection, measurement.environment),
        "window": measurement.window,
        "empty_memory_bytes": measurement.empty_memory_bytes,
        "loaded_memory_bytes": measurement.loaded_memory_bytes,
        "model_bytes": measurement.model_bytes,
        "environment_after": _save_environment(database, connection, measurement.environment_after),
        "disturbance": None if disturbance is None else json.dumps(asdict(disturbance)),
        "waited_ns": None if measurement.waited_ns is None else json.dumps(measurement.waited_ns),
        "measured_at": measurement.measured_at,
        "reference_of": placed.reference_of,
    }


def _save_environment(
    database: Database, connection: sa.Connection, environment: Environment | None
) -> str | None:
    if environment is None:
        return None
    text = json.dumps(asdict(environment), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    database.insert_new(connection, ENVIRONMENTS, hash=digest, json=text)
    return digest
