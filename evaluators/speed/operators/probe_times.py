"""Times of whole small models relative to a reference, and sums of them with their uncertainty."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hardware.measurement import NORMAL_975, Phase, Workload
from search_space.architecture import Architecture
from search_space.probes import Kinds, Part, make_probes
from search_space.quantization import Quantization


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95 % confidence interval.

    Attributes:
        value: The estimate.
        margin: Half the width of the interval; None if there are too few windows for an interval.
    """

    value: float
    margin: float | None

    @property
    def low(self) -> float | None:
        """The lower bound of the interval."""
        return None if self.margin is None else self.value - self.margin

    @property
    def high(self) -> float | None:
        """The upper bound of the interval."""
        return None if self.margin is None else self.value + self.margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The settings that the probes of a profile share.

    Attributes:
        width: The width of the models.
        layers: The number of layers of each probe.
        quantization: The quantisation of the weights.
        threads: The threads that a model computes with.
        kinds: The variants of mixers that have a probe.
    """

    width: int
    layers: int
    quantization: Quantization
    threads: int
    kinds: Kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRatio:
    """The ratio of a model's time to the reference model's time, in one round.

    Attributes:
        value: The ratio.
        deviation: The standard error of its logarithm; None if there are too few windows.
    """

    value: float
    deviation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTime:
    """The ratios of a model's time to the reference model's time for one workload.

    Attributes:
        workload: The workload.
        ratios: The ratio in each round; both models are loaded again for each round.
        reference_ms: The reference model's median time in each round.
    """

    workload: Workload
    ratios: tuple[PairedRatio, ...]
    reference_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTimes:
    """The times of one model.

    Attributes:
        architecture: The model.
        times: The time of each workload.
        failure: Why requested workloads have no time; None if they all have one.
    """

    architecture: Architecture
    times: tuple[PairedTime, ...]
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The times of all models of one setting.

    Attributes:
        setting: What the probes have in common.
        probes: The times of the probes.
        models: The times of whole models, with which the sums of the parts' times are compared.
    """

    setting: Setting
    probes: tuple[ModelTimes, ...]
    models: tuple[ModelTimes, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbeSum:
    """A linear combination of the times of probes.

    Attributes:
        terms: The coefficient of each probe's time for a workload.
    """

    terms: Mapping[tuple[Part, Workload], float]

    def __add__(self, other: "ProbeSum") -> "ProbeSum":
        terms = dict(self.terms)
        for term, coefficient in other.terms.items():
            terms[term] = terms.get(term, 0.0) + coefficient
        return ProbeSum(terms)

    def __sub__(self, other: "ProbeSum") -> "ProbeSum":
        return self + -1 * other

    def __rmul__(self, factor: float) -> "ProbeSum":
        return ProbeSum({term: factor * each for term, each in self.terms.items()})


ZERO = ProbeSum({})
_PHASES: tuple[Phase, ...] = ("prefill", "decode")


class ProbeTimes:
    """The times of a profile's probes, in units of the reference model's time.

    Attributes:
        parts: The parts in order; the first is the short convolution that costs are relative to.
        workloads: The workloads with a time, prefill first, then by depth.
    """

    def __init__(self, profile: Profile) -> None:
        """Estimate the time of every probe that was timed."""
        setting = profile.setting
        self._probes = {
            probe.part: probe for probe in make_probes(setting.width, setting.layers, setting.kinds)
        }
        self.parts: tuple[Part, ...] = tuple(self._probes)
        part_of = {probe.architecture: probe.part for probe in self._probes.values()}
        known = [time for model in (*profile.probes, *profile.models) for time in model.times]
        self._loading = {phase: _variance_of_loading(known, phase) for phase in _PHASES}
        self._within = {phase: _mean_variance_within(known, phase) for phase in _PHASES}
        self._reference_ms = {
            phase: [
                ms for time in known if time.workload.phase == phase for ms in time.reference_ms
            ]
            for phase in _PHASES
        }
        self._times = {
            (part_of[model.architecture], time.workload): self.estimate(time)
            for model in profile.probes
            for time in model.times
        }
        self.workloads = sorted(
            {workload for _, workload in self._times},
            key=lambda workload: (workload.phase == "decode", workload.depth, workload.tokens),
        )

    def at(self, part: Part, workload: Workload) -> ProbeSum:
        """Return the time of a part's probe.

        A probe with a KV cache is interpolated linearly between the two nearest depths. Any other
        probe takes the same time at all depths.

        Args:
            part: The part of the model.
            workload: The workload.

        Raises:
            ValueError: The probe was not timed at such a workload.
        """
        if (part, workload) in self._times:
            return ProbeSum({(part, workload): 1.0})
        depths = {
            other.depth: other
            for each, other in self._times
            if each == part and other.phase == workload.phase == "decode"
        }
        if depths and not self._probes[part].has_kv_cache:
            return ProbeSum({(part, next(iter(depths.values()))): 1.0})
        below = [depth for depth in depths if depth <= workload.depth]
        above = [depth for depth in depths if depth >= workload.depth]
        if not below or not above:
            raise ValueError(f"workload: {workload} is not within the depths timed for {part}")
        low, high = max(below), min(above)
        weight = (workload.depth - low) / (high - low) if high > low else 0.0
        return ProbeSum({(part, depths[low]): 1 - weight}) + ProbeSum(
            {(part, depths[high]): weight}
        )

    def value(self, total: ProbeSum) -> Estimate:
        """Return the value of a sum; the errors of its probes are taken to be independent."""
        known = [(each, self._times[term]) for term, each in total.terms.items() if each]
        return Estimate(
            value=sum(coefficient * time.value for coefficient, time in known),
            margin=root_of_squares(
                None if time.margin is None else coefficient * time.margin
                for coefficient, time in known
            ),
        )

    def quotient(self, above: ProbeSum, below: ProbeSum) -> Estimate:
        """Return the quotient of two sums, with the correlation due to the terms that they share.

        Args:
            above: The numerator.
            below: The denominator.

        Raises:
            ValueError: The denominator is not significantly larger than zero.
        """
        divisor = self.value(below)
        if divisor.value <= (divisor.margin or 0.0):
            raise ValueError("the time of the short convolution does not exceed the noise")
        value = self.value(above).value / divisor.value
        # d(a / b) = (da - (a / b) db) / b
        margin = self.value(above - value * below).margin
        return Estimate(value=value, margin=None if margin is None else margin / divisor.value)

    def ms(self, relative: Estimate, phase: Phase) -> Estimate:
        """Convert an estimate in units of the reference model's time to milliseconds.

        The reference model's median time is used. Its drift is not included in the margin.
        """
        reference_ms = float(np.median(self._reference_ms[phase]))
        margin = None if relative.margin is None else relative.margin * reference_ms
        return Estimate(value=relative.value * reference_ms, margin=margin)

    def estimate(self, time: PairedTime) -> Estimate:
        """Return the geometric mean of the rounds' ratios, with its 95 % confidence interval.

        The variance has two parts. The variance between processes is assumed to be the same for all
        models of a phase. The variance of the windows is the mean of the model's own, which is
        estimated from few windows, and the average over all models.
        """
        value = math.exp(float(np.mean([math.log(ratio.value) for ratio in time.ratios])))
        within = _variance_within(time)
        if within is None:
            return Estimate(value=value, margin=None)
        phase = time.workload.phase
        within = (within + self._within[phase]) / 2
        variance = (within + self._loading[phase]) / len(time.ratios)
        return Estimate(value=value, margin=NORMAL_975 * math.sqrt(variance) * value)


def root_of_squares(margins: Iterable[float | None]) -> float | None:
    """Return the root of the sum of squares of margins, or None if one of them is None."""
    total = 0.0
    for margin in margins:
        if margin is None:
            return None
        total += margin**2
    return math.sqrt(total)


def _variance_within(time: PairedTime) -> float | None:
    """Return the variance of one round's log ratio due to its windows; None if it is unknown."""
    known = [ratio.deviation**2 for ratio in time.ratios if ratio.deviation is not None]
    return float(np.mean(known)) if known else None


def _mean_variance_within(times: Sequence[PairedTime], phase: Phase) -> float:
    """Return the mean of the models' variances in a phase; 0 if none is known."""
    variances = [_variance_within(time) for time in times if time.workload.phase == phase]
    known = [variance for variance in variances if variance is not None]
    return float(np.mean(known)) if known else 0.0


def _variance_of_loading(times: Sequence[PairedTime], phase: Phase) -> float:
    """Return the pooled variance between rounds that the windows do not explain.

    It is 0 if every model was timed in one round only.
    """
    squares, freedom, within = 0.0, 0, []
    for time in times:
        variance = _variance_within(time)
        if time.workload.phase == phase and len(time.ratios) > 1 and variance is not None:
            logs = [math.log(ratio.value) for ratio in time.ratios]
            squares += len(logs) * float(np.var(logs))
            freedom += len(logs) - 1
            within.append(variance)
    return max(0.0, squares / freedom - float(np.mean(within))) if freedom else 0.0
