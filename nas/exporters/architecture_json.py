"""Writes an Architecture and its provenance as a JSON file, which every command can read."""

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
from hardware.window_statistics import interval_ms
from nas.inputs.model_argument import ResolvedModel
from search_space.architecture import Architecture, architecture_hash, to_json
from search_space.input_files import read_text
from search_space.strict import parse_json
from studies.analysis.trial_detail import TrialDetail

Schema: TypeAlias = dict[str, JsonValue]

_STRICT_FIELDS: dict[str, object] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One measurement of a time: the median of its samples with its 95 % confidence interval.

    The interval is that of this measurement only. A score combines all measurements, and its
    interval also covers the scatter between repeats.

    Attributes:
        workload: `pp512` reads 512 tokens; `tg64@1024` generates 64 tokens after 1,024 others.
        runtime: The runtime and its version.
        threads: The number of threads.
        samples: The number of samples.
        median_ms: The median, in milliseconds, without the time spent waiting for a core.
        low_ms: The lower bound of the confidence interval, in milliseconds, if there is one.
        high_ms: The upper bound, in milliseconds, if there is one.
        environment: The device and its state.
        waiting_share: The fraction of the samples' wall time that was spent waiting for a core;
            None where that is not known, so that the median includes it.
    """

    workload: str
    runtime: str
    threads: int
    samples: int
    median_ms: float
    low_ms: float | None
    high_ms: float | None
    environment: Environment
    waiting_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """An evaluation of the trial.

    Attributes:
        name: The name of the evaluator.
        fingerprint: The fingerprint of its settings, versions and device.
        seconds: How long it took.
    """

    name: str
    fingerprint: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where an architecture comes from and how it was evaluated.

    Attributes:
        study: The name of the study; None for an architecture that no study has evaluated.
        trial: The number of the trial or the name of the reference model.
        state: How the trial ended.
        made_from: The hash of the architecture that was scaled to this one, to which the scores
            belong; None if it was not scaled.
        scores: The scores of the trial; a time has the measured ratio that it was computed from.
        timings: The measurements behind its scores of time.
        stages: The evaluations of the trial.
        written_at: When the file was written, in UTC.
        versions: The versions of this program and of Python that wrote the file.
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
    """The content of the file.

    Attributes:
        architecture: The architecture.
        hash: The hash of its canonical text.
        provenance: Where it comes from.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT_FIELDS
    architecture: Architecture
    hash: str
    provenance: Provenance


def read_provenance(file: Path, architecture: Architecture) -> Provenance | None:
    """Read the provenance in an architecture file.

    Args:
        file: The file.
        architecture: The architecture whose provenance is requested.

    Returns:
        The provenance; None if the file contains none or a different architecture.

    Raises:
        ValueError: The provenance is not valid.
    """
    text = read_text(file)
    if "provenance" not in json.loads(text):
        return None
    found = parse_json(ArchitectureFile, text, str(file))
    return found.provenance if found.architecture == architecture else None


def provenance_of(detail: TrialDetail | None, *, made_from: Architecture | None) -> Provenance:
    """Return the provenance of an architecture.

    Args:
        detail: The trial; None if the architecture does not come from a study.
        made_from: The architecture that was scaled to it, if any.
    """
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


def model_provenance(model: ResolvedModel, made_from: Architecture | None) -> Provenance:
    """Return the provenance of a model: that in its file, if there is any, or that of its trial.

    Args:
        model: The model.
        made_from: The architecture that was scaled to the exported one, if any.
    """
    earlier = None
    if model.file is not None:
        earlier = read_provenance(model.file, model.scaled_from or model.architecture)
    if earlier is None:
        return provenance_of(model.detail, made_from=made_from)
    # After scaling twice, the scores still belong to the first architecture.
    origin = earlier.made_from or _origin(made_from)
    return replace(earlier, made_from=origin, written_at=_now(), versions=_versions())


def write_architecture(architecture: Architecture, path: Path, provenance: Provenance) -> None:
    """Write an architecture file; see `ArchitectureFile`."""
    document = {
        "architecture": json.loads(to_json(architecture)),
        "hash": architecture_hash(architecture),
        "provenance": asdict(provenance),
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def architecture_schema() -> Schema:
    """Return the JSON Schema of the file, which is also in docs/architecture.schema.json."""
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
        waiting_share=measurement.waiting_share,
    )


if __name__ == "__main__":
    print(json.dumps(architecture_schema(), indent=2))
