"""An Architecture as the JSON file that every command reads back, and where it comes from."""

import importlib.metadata
import json
import platform
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, TypeAlias

from pydantic import JsonValue, TypeAdapter

from evaluators.evaluator import Score
from hardware.environment import Environment
from hardware.measurement import Measurement, quantile_ms
from hardware.stability import interval_ms
from nas.inputs.model_argument import ResolvedModel
from search_space.architecture import Architecture, architecture_hash, to_json
from search_space.strict import parse_json, read_text
from studies.analysis.summaries import TrialDetail

Schema: TypeAlias = dict[str, JsonValue]

_STRICT_FIELDS: dict[str, object] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How a score of time was found: the median of its samples with its 95 % interval, and where.

    workload: `pp512` reads 512 tokens, `tg64@1024` writes 64 behind 1,024.
    """

    workload: str
    runtime: str
    threads: int
    samples: int
    median_ms: float
    low_ms: float | None
    high_ms: float | None
    environment: Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """An evaluator by its name and the fingerprint of its settings, versions and device."""

    name: str
    fingerprint: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What is known of the architecture beside itself.

    study, trial: None for one that no study has scored. state: how the trial ended.
    made_from: the hash of the architecture that was stretched or narrowed to this one; the scores
        are its.
    versions: of this program and of Python, where the file was written.
    """

    study: str | None
    trial: str | None
    state: str | None
    made_from: str | None
    scores: tuple[Score, ...]
    timings: tuple[Timing, ...]
    stages: tuple[Stage, ...]
    written_at: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureFile:
    """The file: an architecture, the hash of its canonical text, and its provenance."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT_FIELDS
    architecture: Architecture
    hash: str
    provenance: Provenance


def read_provenance(file: Path, architecture: Architecture) -> Provenance | None:
    """None where the file holds no provenance, or another architecture than this.

    ValueError for a provenance that is none.
    """
    text = read_text(file)
    if "provenance" not in json.loads(text):
        return None
    found = parse_json(ArchitectureFile, text, str(file))
    return found.provenance if found.architecture == architecture else None


def provenance_of(detail: TrialDetail | None, *, made_from: Architecture | None) -> Provenance:
    """Of a trial; None where the architecture is of no study."""
    measurements = [] if detail is None else _measurements(detail)
    trial = None if detail is None else detail.trial
    return Provenance(
        study=None if trial is None else trial.study,
        trial=None if trial is None else str(trial.name),
        state=None if trial is None else trial.state,
        made_from=_origin(made_from),
        scores=() if trial is None else trial.scores,
        timings=tuple(_timing(measurement) for measurement in measurements),
        stages=tuple(
            Stage(name=run.stage, fingerprint=run.fingerprint, seconds=run.seconds)
            for run in (() if trial is None else trial.stages)
        ),
        written_at=_now(),
        versions=_versions(),
    )


def subject_provenance(subject: ResolvedModel, made_from: Architecture | None) -> Provenance:
    """Of what is exported: of its trial, or as the file tells that it was read from."""
    before = None
    if subject.file is not None:
        before = read_provenance(subject.file, subject.stretched_from or subject.architecture)
    if before is None:
        return provenance_of(subject.detail, made_from=made_from)
    # What is made from one that was made itself has the scores of the first of them.
    origin = before.made_from or _origin(made_from)
    return replace(before, made_from=origin, written_at=_now(), versions=_versions())


def write_architecture(architecture: Architecture, path: Path, provenance: Provenance) -> None:
    document = {
        "architecture": json.loads(to_json(architecture)),
        "hash": architecture_hash(architecture),
        "provenance": asdict(provenance),
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def architecture_schema() -> Schema:
    """The JSON Schema of the file, from the types above; docs/architecture.schema.json holds it."""
    schema: Schema = TypeAdapter(ArchitectureFile).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _origin(made_from: Architecture | None) -> str | None:
    return None if made_from is None else architecture_hash(made_from)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    return {
        "nas": importlib.metadata.version("hybrid-lm-search"),
        "python": platform.python_version(),
    }


def _measurements(detail: TrialDetail) -> list[Measurement]:
    return [each for found in detail.evaluations.values() for each in found.measurements]


def _timing(measurement: Measurement) -> Timing:
    interval = interval_ms([measurement])
    return Timing(
        workload=str(measurement.workload),
        runtime=measurement.runtime,
        threads=measurement.threads,
        samples=len(measurement.samples_ns),
        median_ms=quantile_ms(measurement, 0.5),
        low_ms=None if interval is None else interval.low,
        high_ms=None if interval is None else interval.high,
        environment=measurement.environment,
    )


if __name__ == "__main__":
    print(json.dumps(architecture_schema(), indent=2))
