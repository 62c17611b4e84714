"""How long whole small models took beside a reference, and sums of that with their uncertainty."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hardware.measurement import Phase, Workload
from search_space.architecture import Architecture
from search_space.probes import Kinds, Part, make_probes
from search_space.quantization import Quantization

_NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """margin: half the 95 % interval; None where too little is known to say."""

    value: float
    margin: float | None

    @property
    def low(self) -> float | None:
        return None if self.margin is None else self.value - self.margin

    @property
    def high(self) -> float | None:
        return None if self.margin is None else self.value + self.margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the probes of a profile have in common; layers: how many each has."""

    width: int
    layers: int
    quantization: Quantization
    threads: int
    kinds: Kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRatio:
    """A model's time over the reference's; deviation: the standard error of its logarithm.

    None where there are too few windows to tell.
    """

    value: float
    deviation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTime:
    """A model's time over the reference's, once a round: for each, both are loaded anew."""

    workload: Workload
    ratios: tuple[PairedRatio, ...]
    reference_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTimes:
    """failure: why a workload that was asked for has no time."""

    architecture: Architecture
    times: tuple[PairedTime, ...]
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The times of the setting's probes, and of whole models to check the sum of parts against."""

    setting: Setting
    probes: tuple[ModelTimes, ...]
    models: tuple[ModelTimes, ...] = ()


@dataclass(frozen=True, slots=True)
class Sum:
    """Times of probes at workloads, each with its coefficient."""

    terms: Mapping[tuple[Part, Workload], float]

    def __add__(self, other: "Sum") -> "Sum":
        terms = dict(self.terms)
        for term, coefficient in other.terms.items():
            terms[term] = terms.get(term, 0.0) + coefficient
        return Sum(terms)

    def __sub__(self, other: "Sum") -> "Sum":
        return self + -1 * other

    def __rmul__(self, factor: float) -> "Sum":
        return Sum({term: factor * each for term, each in self.terms.items()})


NOTHING = Sum({})
_PHASES: tuple[Phase, ...] = ("prefill", "decode")


class ProbeTimes:
    """What a profile knows of its probes, in units of the reference's time.

    parts: in order, the short convolution that costs are told in first.
    workloads: at which anything was timed, prefill first, then by depth.
    """

    def __init__(self, profile: Profile) -> None:
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

    def at(self, part: Part, workload: Workload) -> Sum:
        """The time of a part's probe; one that remembers all is drawn evenly between two depths.

        Raises ValueError where it was not timed.
        """
        if (part, workload) in self._times:
            return Sum({(part, workload): 1.0})
        depths = {
            other.depth: other
            for each, other in self._times
            if each == part and other.phase == workload.phase == "decode"
        }
        if depths and not self._probes[part].has_kv_cache:
            return Sum({(part, next(iter(depths.values()))): 1.0})
        below = [depth for depth in depths if depth <= workload.depth]
        above = [depth for depth in depths if depth >= workload.depth]
        if not below or not above:
            raise ValueError(f"workload: {workload} is not within what {part} was timed at")
        low, high = max(below), min(above)
        share = (workload.depth - low) / (high - low) if high > low else 0.0
        return Sum({(part, depths[low]): 1 - share}) + Sum({(part, depths[high]): share})

    def value(self, total: Sum) -> Estimate:
        """Probes are uncertain independently of each other."""
        known = [(each, self._times[term]) for term, each in total.terms.items() if each]
        return Estimate(
            value=sum(coefficient * time.value for coefficient, time in known),
            margin=root_of_squares(
                None if time.margin is None else coefficient * time.margin
                for coefficient, time in known
            ),
        )

    def quotient(self, above: Sum, below: Sum) -> Estimate:
        """What both have in common moves them together. ValueError where `below` takes no time."""
        divisor = self.value(below)
        if divisor.value <= (divisor.margin or 0.0):
            raise ValueError("the short convolution took no time that could be told from noise")
        value = self.value(above).value / divisor.value
        # d(a / b) = (da - (a / b) db) / b
        margin = self.value(above - value * below).margin
        return Estimate(value=value, margin=None if margin is None else margin / divisor.value)

    def ms(self, relative: Estimate, phase: Phase) -> Estimate:
        """By the reference's median; its own drift is not in the margin."""
        reference_ms = float(np.median(self._reference_ms[phase]))
        margin = None if relative.margin is None else relative.margin * reference_ms
        return Estimate(value=relative.value * reference_ms, margin=margin)

    def estimate(self, time: PairedTime) -> Estimate:
        """The mean over rounds, and what is known of it from windows and from loading anew.

        The variance that a fresh process adds is taken to be the same for all models of a phase.
        That of windows lies half way between a model's own, known from few, and the mean of all.
        """
        value = math.exp(float(np.mean([math.log(ratio.value) for ratio in time.ratios])))
        within = _variance_within(time)
        if within is None:
            return Estimate(value=value, margin=None)
        phase = time.workload.phase
        within = (within + self._within[phase]) / 2
        variance = (within + self._loading[phase]) / len(time.ratios)
        return Estimate(value=value, margin=_NORMAL_95 * math.sqrt(variance) * value)


def root_of_squares(margins: Iterable[float | None]) -> float | None:
    """None if one is not known."""
    total = 0.0
    for margin in margins:
        if margin is None:
            return None
        total += margin**2
    return math.sqrt(total)


def _variance_within(time: PairedTime) -> float | None:
    """Of one round's logarithm, from its windows; None where no round has windows enough."""
    known = [ratio.deviation**2 for ratio in time.ratios if ratio.deviation is not None]
    return float(np.mean(known)) if known else None


def _mean_variance_within(times: Sequence[PairedTime], phase: Phase) -> float:
    """Of all models of a phase; 0 where nothing is known."""
    variances = [_variance_within(time) for time in times if time.workload.phase == phase]
    known = [variance for variance in variances if variance is not None]
    return float(np.mean(known)) if known else 0.0


def _variance_of_loading(times: Sequence[PairedTime], phase: Phase) -> float:
    """What rounds differ by beyond what their windows explain, pooled; 0 with one round each."""
    squares, freedom, within = 0.0, 0, []
    for time in times:
        variance = _variance_within(time)
        if time.workload.phase == phase and len(time.ratios) > 1 and variance is not None:
            logs = [math.log(ratio.value) for ratio in time.ratios]
            squares += len(logs) * float(np.var(logs))
            freedom += len(logs) - 1
            within.append(variance)
    return max(0.0, squares / freedom - float(np.mean(within))) if freedom else 0.0
