"""Measure a small, a median and a large model of a study's space, and apply its limits to them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evaluators.calibration import CalibrationsInMemory
from evaluators.evaluator import EvaluationFailed, Evaluator, Progress, Score
from evaluators.scores import definition_of, is_size, is_trained
from evaluators.static import StaticEvaluator
from hardware.measurement import Measurement
from hardware.progress import Say
from nas.assembly import latency_evaluators
from nas.inputs.device_argument import NamedDevice
from search_space.architecture import Architecture
from search_space.costs import parameter_counts, prefill_flops, state_bytes, weight_bytes
from studies.spec.limits import limits
from studies.spec.study_spec import StudySpec

SampleSize: TypeAlias = Literal["smallest", "median", "largest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceSample:
    """A random architecture of a space, measured as a candidate of the study would be.

    Attributes:
        size: Its place among the random architectures, by the number of parameters.
        architecture: The architecture.
        scores: Its scores in closed form and, unless it failed, those that were measured.
        seconds: The time that the measurement on this machine took, without waiting for other
            processes; None if a measurement failed.
        device_seconds: The times of the measurements on named devices, by their names.
        failure: Why it could not be measured on a device; None if it was measured on all.
    """

    size: SampleSize
    architecture: Architecture
    scores: tuple[Score, ...]
    seconds: float | None
    failure: str | None
    device_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedShares:
    """The fractions of random architectures that the limits of a study refuse, as estimates.

    Attributes:
        untimed: The fraction that is refused before anything is measured.
        untrained: The fraction that is refused before the training, including `untimed`.
    """

    untimed: float
    untrained: float


def space_samples(architectures: Sequence[Architecture]) -> dict[SampleSize, Architecture]:
    """Choose the smallest, the median and the largest of some architectures.

    Args:
        architectures: At least one architecture. Fewer than three lead to fewer samples.
    """
    by_size = sorted(architectures, key=lambda each: parameter_counts(each).total)
    middle = len(by_size) // 2
    chosen: dict[SampleSize, Architecture] = {"median": by_size[middle]}
    if middle > 0:
        chosen = {"smallest": by_size[0], **chosen}
    if middle < len(by_size) - 1:
        chosen["largest"] = by_size[-1]
    return chosen


def measure_samples(
    spec: StudySpec,
    architectures: Mapping[SampleSize, Architecture],
    say: Say,
    devices: Sequence[NamedDevice] = (),
) -> tuple[SpaceSample, ...]:
    """Measure architectures on all devices of a study, in their order.

    The time of the first one includes that of loading the reference model.

    Args:
        spec: The study.
        architectures: The architectures by their size.
        say: Receives what is being done.
        devices: The devices that the study names.

    Raises:
        ValueError: This machine lacks something, or a device cannot be reached.
    """
    with latency_evaluators(spec, CalibrationsInMemory(), devices) as latencies:
        return tuple(
            _measured(latencies, size, architecture, say)
            for size, architecture in architectures.items()
        )


def refused_shares(
    spec: StudySpec, architectures: Sequence[Architecture], samples: Sequence[SpaceSample]
) -> RefusedShares:
    """Estimate which fractions of random architectures the limits refuse.

    The number of parameters is exact. Other scores are estimated by a straight line through those
    of the samples, as a function of a closed-form cost: bytes of weights and states for memory,
    file size and decoding, and FLOPs for prefill. Limits of scores without such a cost, and of
    those of the training, are left out.

    Args:
        spec: The study.
        architectures: Random architectures that obey the rules of the space; at least one.
        samples: Measured architectures of the space.
    """
    untimed = np.zeros(len(architectures), dtype=bool)
    untrained = np.zeros(len(architectures), dtype=bool)
    for name, most in limits(spec).items():
        above = _estimates(spec, name, architectures, samples) > most
        untrained |= above
        if name in StaticEvaluator.score_names:
            untimed |= above
    return RefusedShares(untimed=float(untimed.mean()), untrained=float(untrained.mean()))


def waiting_seconds(measurements: Sequence[Measurement]) -> float:
    """Return how long the measurements of one model waited for other processes, in seconds.

    Args:
        measurements: The measurements, which share the wait for a quiet machine before the first.
    """
    before = max(
        (each.disturbance.waited_s for each in measurements if each.disturbance is not None),
        default=0.0,
    )
    both = [model for each in measurements for model in (each, each.reference) if model is not None]
    return before + sum(sum(each.waited_ns or ()) for each in both) / 1e9


def _measured(
    latencies: Mapping[str | None, Evaluator],
    size: SampleSize,
    architecture: Architecture,
    say: Say,
) -> SpaceSample:
    known = StaticEvaluator().evaluate(architecture, lambda _: None).scores
    seconds: dict[str | None, float] = {}
    for device, latency in latencies.items():
        topic = f"timing the {size} of the drawn models" + (f" on {device}" if device else "")
        say(topic)

        def report(progress: Progress, topic: str = topic) -> None:
            say(f"{topic}: {progress.text}")

        start = time.monotonic()
        try:
            evaluation = latency.evaluate(architecture, report)
        except EvaluationFailed as failure:
            reason = f"{device}: {failure}" if device else str(failure)
            return SpaceSample(
                size=size, architecture=architecture, scores=known, seconds=None, failure=reason
            )
        known = (*known, *evaluation.scores)
        seconds[device] = time.monotonic() - start - waiting_seconds(evaluation.measurements)
    return SpaceSample(
        size=size,
        architecture=architecture,
        scores=known,
        seconds=seconds.get(None, 0.0),
        failure=None,
        device_seconds={name: each for name, each in seconds.items() if name is not None},
    )


def _estimates(
    spec: StudySpec,
    name: str,
    architectures: Sequence[Architecture],
    samples: Sequence[SpaceSample],
) -> NDArray[np.float64]:
    """Return the estimate of a score for each architecture; minus infinity where there is none."""
    costs = np.array([_cost(spec, name, each) for each in architectures], dtype=np.float64)
    if name in StaticEvaluator.score_names:
        return costs
    known = [
        (_cost(spec, name, sample.architecture), score.value)
        for sample in samples
        for score in sample.scores
        if score.name == name
    ]
    if not known or np.isnan(costs).any():
        return np.full(len(architectures), -np.inf)
    sample_costs, values = np.array(known, dtype=np.float64).T
    slope = 0.0
    if np.ptp(sample_costs) > 0:
        # A larger model that happened to be faster must not reverse the order of all others.
        slope = max(0.0, float(np.polyfit(sample_costs, values, 1)[0]))
    estimates: NDArray[np.float64] = values.mean() + slope * (costs - sample_costs.mean())
    return estimates


def _cost(spec: StudySpec, name: str, architecture: Architecture) -> float:
    """Return a closed-form cost that a score grows with; not a number if there is none."""
    definition = definition_of(name)
    if definition is None or is_trained(name):
        return float("nan")
    if name in StaticEvaluator.score_names:
        return parameter_counts(architecture).total
    target = spec.target
    if definition.phase == "prefill" and definition.kind == "time":
        return prefill_flops(architecture, target.prompt_length)
    depth = target.context_depth if definition.depth is None else definition.depth
    if definition.phase is None or definition.kind == "time":
        weights = weight_bytes(architecture, target.quantization)
        return weights + (0 if is_size(name) else state_bytes(architecture, depth))
    return float("nan")
