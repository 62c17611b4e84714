"""The time that the reference model takes on a device, estimated from every timing of it.

Models are compared by the ratio of their time to that of the reference model, which is steady on a
machine that does other work. A time in milliseconds is that ratio multiplied by the reference
model's own time. No single timing decides the latter: whenever a candidate is timed, so is the
reference model, and each of these timings counts by how undisturbed it was.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

from hardware.measurement import NORMAL_975, Interval, parse_workload
from hardware.repeatability import BETWEEN_RUNS

# The standard deviation, of the logarithm, of what a quiet machine takes at different times:
# placement in memory, temperature, and neighbours that only the hypervisor knows.
BETWEEN_TIMES = 0.04
# Half the width of the interval, as a fraction of the time, above which no limit in milliseconds is
# enforced.
WIDEST_SETTLED = 0.1
_MOST_TIMINGS = 100
# The scatter between runs that is assumed at first counts as much as ten repeats, and repeats on a
# device never reduce it to less than half.
_PRIOR_REPEATS = 10
_LEAST_OF_PRIOR = 0.5
# A calibration that moves less than this, as a fraction, does not change what is displayed.
_NOTICEABLE = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationKey:
    """What a calibration applies to.

    Attributes:
        device: The fingerprint of the runner, with the quantisation of the weights.
        reference: The hash of the reference model's architecture.
        workload: The workload, such as `tg64@512`.
    """

    device: str
    reference: str
    workload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTiming:
    """One timing of the reference model, next to a candidate.

    Attributes:
        at: When it was taken, in seconds since 1970.
        milliseconds: The time per token or per prompt.
        error: The standard error of the logarithm of `milliseconds`, including the suspected effect
            of other load on the machine.
        governor: The frequency governor at that time; None where it is not known.
    """

    at: float
    milliseconds: float
    error: float
    governor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The time of the reference model at one workload.

    Attributes:
        key: What it applies to.
        milliseconds: The time per token or per prompt.
        interval: Its 95 % confidence interval, in milliseconds.
        timings: The latest timings, in chronological order. Those under another frequency governor
            than the last do not count.
        repeats: How often a candidate was timed against the reference model again.
        variance: The sum over these repeats of the variance between runs that each of them shows,
            of the logarithm of a ratio.
    """

    key: CalibrationKey
    milliseconds: float
    interval: Interval
    timings: tuple[ReferenceTiming, ...]
    repeats: int = 0
    variance: float = 0.0

    @property
    def between_runs(self) -> float:
        """The standard deviation of the logarithm of a ratio between runs on this device.

        It starts from that of the machines on which this was developed, which counts as ten
        repeats.
        """
        usual = BETWEEN_RUNS[parse_workload(self.key.workload).phase]
        prior = _PRIOR_REPEATS * usual**2
        variance = (prior + self.variance) / (_PRIOR_REPEATS + self.repeats)
        return math.sqrt(max(variance, (_LEAST_OF_PRIOR * usual) ** 2))

    @property
    def error(self) -> float:
        """The standard error of the logarithm of `milliseconds`."""
        return self.interval.log_error

    @property
    def is_settled(self) -> bool:
        """Whether it is certain enough for limits in milliseconds to be enforced."""
        return self.interval.half_width <= WIDEST_SETTLED

    def slowdown(self, milliseconds: float) -> float:
        """Return by how much a timing of the reference model exceeds what is normal.

        Args:
            milliseconds: The time per token or per prompt in that timing.

        Returns:
            The logarithm of the factor beyond what quiet moments and the error of this calibration
            explain; 0 if they explain it, or if the calibration is not settled.
        """
        if not self.is_settled:
            return 0.0
        normal = NORMAL_975 * math.hypot(self.error, BETWEEN_TIMES)
        return max(0.0, math.log(milliseconds / self.milliseconds) - normal)

    def differs_noticeably(self, earlier: "Calibration") -> bool:
        """Return whether times that were computed with an earlier calibration are out of date."""
        pairs = (
            (self.milliseconds, earlier.milliseconds),
            (self.interval.low, earlier.interval.low),
            (self.interval.high, earlier.interval.high),
        )
        return any(abs(math.log(now / then)) > _NOTICEABLE for now, then in pairs)

    def convert(
        self, ratio: float, low: float | None, high: float | None
    ) -> tuple[float, float | None, float | None]:
        """Convert a ratio and the bounds of its interval to milliseconds.

        The interval of the result covers the errors of both factors, which are independent.
        """
        value = ratio * self.milliseconds
        if low is None or high is None:
            return value, None, None
        below = math.hypot(math.log(ratio / low), math.log(self.milliseconds / self.interval.low))
        above = math.hypot(math.log(high / ratio), math.log(self.interval.high / self.milliseconds))
        return value, value * math.exp(-below), value * math.exp(above)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationChange:
    """A change of a calibration that is worth reporting; as text, a sentence for the user.

    Attributes:
        earlier: The calibration that was reported last, or that was known at first.
        now: The calibration that replaces it.
        recomputed: The number of stored times that were computed again.
    """

    earlier: Calibration
    now: Calibration
    recomputed: int

    def __str__(self) -> str:
        count = self.recomputed
        times = "1 stored time was" if count == 1 else f"{count:,} stored times were"
        return (
            f"the reference model takes {_shown(self.now)} for {_work(self.now.key)} instead of "
            f"{_shown(self.earlier)}: {times} computed again from the measured ratios"
        )


class CalibrationStore(Protocol):
    """Stores the timings of reference models, and estimates their times from them."""

    def calibration(self, key: CalibrationKey) -> Calibration | None:
        """Return the current calibration, or None if the reference model was never timed."""
        ...

    def add_repeat(self, key: CalibrationKey, variance: float) -> None:
        """Learn how far repeats differ.

        Args:
            key: The calibration, which has at least one timing.
            variance: The variance between runs that one repeat shows, of the logarithm of a ratio.
                It is negative if two runs differ by less than their own errors explain.
        """
        ...

    def add_timings(
        self, timings: Mapping[CalibrationKey, ReferenceTiming]
    ) -> tuple[CalibrationChange, ...]:
        """Add timings, and compute every stored time that depends on them again.

        Args:
            timings: One timing for each of several keys.

        Returns:
            The changes that are so large that the user should know of them.
        """
        ...


class CalibrationsInMemory:
    """A CalibrationStore that lasts as long as the program."""

    def __init__(self) -> None:
        self._calibrations: dict[CalibrationKey, Calibration] = {}

    def calibration(self, key: CalibrationKey) -> Calibration | None:
        """See `CalibrationStore.calibration`."""
        return self._calibrations.get(key)

    def add_timings(
        self, timings: Mapping[CalibrationKey, ReferenceTiming]
    ) -> tuple[CalibrationChange, ...]:
        """See `CalibrationStore.add_timings`; no stored time depends on these."""
        for key, timing in timings.items():
            known = self._calibrations.get(key)
            before = () if known is None else known.timings
            now = calibrate(key, (*before, timing))
            if known is not None:
                now = replace(now, repeats=known.repeats, variance=known.variance)
            self._calibrations[key] = now
        return ()

    def add_repeat(self, key: CalibrationKey, variance: float) -> None:
        """See `CalibrationStore.add_repeat`."""
        known = self._calibrations[key]
        self._calibrations[key] = replace(
            known, repeats=known.repeats + 1, variance=known.variance + variance
        )


def calibrate(key: CalibrationKey, timings: Sequence[ReferenceTiming]) -> Calibration:
    """Estimate the reference model's time from its timings.

    The estimate is the mean of the logarithms, each weighted by the inverse of its variance: that
    of the timing itself and that between quiet moments. Where timings differ by more than these
    explain, the interval is wider accordingly (Birge 1932, "The calculation of errors by the
    method of least squares"). Timings under another frequency governor than the latest do not
    count.

    Args:
        key: What the calibration applies to.
        timings: At least one timing, in chronological order; the latest 100 count.
    """
    recent = tuple(timings[-_MOST_TIMINGS:])
    kept = [each for each in recent if each.governor == recent[-1].governor]
    logs = [math.log(each.milliseconds) for each in kept]
    weights = [1 / (each.error**2 + BETWEEN_TIMES**2) for each in kept]
    total = sum(weights)
    mean = sum(weight * log for weight, log in zip(weights, logs, strict=True)) / total
    error = math.sqrt(1 / total)
    if len(kept) > 1:
        spread = sum(w * (log - mean) ** 2 for w, log in zip(weights, logs, strict=True))
        error *= max(1.0, math.sqrt(spread / (len(kept) - 1)))
    # The least error may be that of other load that lasts, which shifts all timings alike: the mean
    # of many has no less of it. The weights count it once for each timing.
    shared = min(each.error for each in kept)
    counted = sum((weight / total) ** 2 for weight in weights)
    error = math.hypot(error, shared * math.sqrt(1 - counted))
    reach = NORMAL_975 * error
    return Calibration(
        key=key,
        milliseconds=math.exp(mean),
        interval=Interval(low=math.exp(mean - reach), high=math.exp(mean + reach)),
        timings=recent,
    )


def _shown(calibration: Calibration) -> str:
    interval = calibration.interval
    return f"{calibration.milliseconds:.4g} ms ({interval.low:.4g} to {interval.high:.4g})"


def _work(key: CalibrationKey) -> str:
    match parse_workload(key.workload).phase:
        case "decode":
            return f"decoding ({key.workload})"
        case "prefill":
            return f"prefill ({key.workload})"
        case _ as phase:
            assert_never(phase)
