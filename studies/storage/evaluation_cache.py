"""Evaluations in the database: scores, raw samples and learning curves."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from evaluators.evaluator import CurvePoint, Evaluation, Score
from hardware.environment import Environment
from hardware.measurement import Disturbance, Measurement, parse_workload
from search_space.architecture import Architecture, architecture_hash, to_json
from search_space.costs import parameter_counts
from studies.storage.database import Database
from studies.storage.schema import ARCHITECTURES, ENVIRONMENTS, EVALUATIONS, MEASUREMENTS, SCORES


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseCache:
    """An `EvaluationCache` that stores evaluations in the database.

    Attributes:
        database: An open database.
    """

    database: Database

    def load_evaluation(self, fingerprint: str, architecture: Architecture) -> Evaluation | None:
        """Return the stored evaluation; see `EvaluationCache.load_evaluation`."""
        with self.database.read() as connection:
            return read_evaluation(connection, fingerprint, architecture_hash(architecture))

    def save_evaluation(
        self, fingerprint: str, architecture: Architecture, evaluation: Evaluation
    ) -> None:
        """Store an evaluation in one transaction; see `EvaluationCache.save_evaluation`."""
        key = {"fingerprint": fingerprint, "architecture": architecture_hash(architecture)}
        with self.database.write() as connection:
            save_architecture(self.database, connection, architecture)
            if not self.database.insert_new(
                connection,
                EVALUATIONS,
                **key,
                seconds=evaluation.seconds,
                curve=curve_text(evaluation.curve),
                evaluated_at=datetime.now(UTC),
            ):
                return
            for position, score in enumerate(evaluation.scores):
                row = key | {"position": position} | asdict(score)
                connection.execute(SCORES.insert().values(row))
            for position, placed in enumerate(_placed(evaluation.measurements)):
                row = key | {"position": position} | self._measurement_row(connection, placed)
                connection.execute(MEASUREMENTS.insert().values(row))

    def _measurement_row(self, connection: sa.Connection, placed: "_Placed") -> dict[str, Any]:
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
            "environment": self._save_environment(connection, measurement.environment),
            "window": measurement.window,
            "empty_memory_bytes": measurement.empty_memory_bytes,
            "loaded_memory_bytes": measurement.loaded_memory_bytes,
            "model_bytes": measurement.model_bytes,
            "environment_after": self._save_environment(connection, measurement.environment_after),
            "disturbance": None if disturbance is None else json.dumps(asdict(disturbance)),
            "reference_of": placed.reference_of,
        }

    def _save_environment(
        self, connection: sa.Connection, environment: Environment | None
    ) -> str | None:
        if environment is None:
            return None
        text = json.dumps(asdict(environment), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.database.insert_new(connection, ENVIRONMENTS, hash=digest, json=text)
        return digest


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

    evaluation = connection.execute(rows(EVALUATIONS)).one_or_none()
    if evaluation is None:
        return None
    scores = connection.execute(rows(SCORES).order_by(SCORES.c.position))
    before, after = ENVIRONMENTS.alias(), ENVIRONMENTS.alias()
    measurements = connection.execute(
        rows(MEASUREMENTS)
        .add_columns(before.c.json.label("before_json"), after.c.json.label("after_json"))
        .join(before, MEASUREMENTS.c.environment == before.c.hash)
        .outerjoin(after, MEASUREMENTS.c.environment_after == after.c.hash)
        .order_by(MEASUREMENTS.c.position)
    ).all()
    return Evaluation(
        scores=tuple(read_score(row) for row in scores),
        seconds=evaluation.seconds,
        measurements=_read_measurements(measurements),
        curve=read_curve(evaluation.curve),
    )


def read_score(row: sa.Row[Any]) -> Score:
    """Read a row of SCORES."""
    return Score(name=row.name, value=row.value, unit=row.unit, low=row.low, high=row.high)


def curve_text(curve: Sequence[CurvePoint]) -> str:
    """Return a learning curve as the JSON text that the database stores."""
    return json.dumps([[point.tokens, point.loss] for point in curve])


def read_curve(text: str) -> tuple[CurvePoint, ...]:
    """Read a learning curve; the inverse of `curve_text`."""
    return tuple(CurvePoint(tokens=tokens, loss=loss) for tokens, loss in json.loads(text))


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
    return Measurement(
        workload=parse_workload(row.workload),
        runtime=row.runtime,
        threads=row.threads,
        cores=tuple(json.loads(row.cores)),
        samples_ns=tuple(json.loads(row.samples_ns)),
        warmup_ns=tuple(json.loads(row.warmup_ns)),
        load_ns=row.load_ns,
        peak_memory_bytes=row.peak_memory_bytes,
        environment=read_environment(row.before_json),
        window=row.window,
        empty_memory_bytes=row.empty_memory_bytes,
        loaded_memory_bytes=row.loaded_memory_bytes,
        model_bytes=row.model_bytes,
        environment_after=None if row.after_json is None else read_environment(row.after_json),
        disturbance=None if row.disturbance is None else Disturbance(**json.loads(row.disturbance)),
        reference=reference,
    )


def read_environment(text: str) -> Environment:
    """Read an environment; facts that the release which recorded it did not know are None."""
    facts = json.loads(text)
    return Environment(**{field.name: facts.get(field.name) for field in fields(Environment)})
