"""How long to time: windows that alternate with a reference's until the ratio is known well.

Absolute times wander by 10 to 20 % on a machine that does other work too; what slows one window
slows its neighbour, so the ratio of the two is far steadier.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from hardware.measurement import (
    Disturbance,
    Interval,
    Measurement,
    Workload,
    window_quantiles_ns,
)
from hardware.runner import DeviceSnapshot, LoadedModel, Window

_WINDOW_NS = 1e8
_OVERHEADS = 2.0  # a window lasts at least so many times what the runner adds to it
_PROBE_TOKENS = 8
_LONG_PROBE_NS = 5e8
_FEWEST_TELLING = 3  # windows that an interval can be told from
_FEWEST_RANKED = 6  # fewer have no 95 % interval by ranks, and often look precise by chance
_NORMAL_975 = 1.96
_REPORT_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingBudget:
    """How well a workload is to be known, and what that may cost.

    quantile: the quantile of each window's samples that is to be known; 0.5 is the median.
    precision: the half width of its 95 % interval, as a share of the value, that is enough.
    seconds: when sampling ends anyhow, once it has `fewest` windows. Below three the value has no
        interval.
    """

    workload: Workload
    precision: float = 0.02
    seconds: float = 10.0
    fewest: int = _FEWEST_TELLING
    quantile: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.quantile <= 1:
            raise ValueError(f"quantile: {self.quantile} is not between 0 and 1")
        if not 0 < self.precision < 1:
            raise ValueError(f"precision: {self.precision} is not between 0 and 1")
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"seconds: {self.seconds} is not a positive number")
        if self.fewest < 1:
            raise ValueError(f"fewest: {self.fewest} is not 1 or more windows")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A model's time over its reference's, and the 95 % interval; None below three windows.

    The interval is that of these two processes: a model that is loaded anew may differ by what
    `benchmarks/repeatability.py` finds, below a per cent where weights lie in huge pages.
    """

    value: float
    low: float | None
    high: float | None


def measure_alone(
    model: LoadedModel, timing_budgets: Sequence[TimingBudget], report: Callable[[str], None]
) -> tuple[Measurement, ...]:
    """Windows of one model, in the order of `efforts`; seconds left over go to those that follow.

    The precision is that of the time, as if nothing drifted. Raises RunnerError.
    """
    return tuple(measurement for (measurement,) in _measure((model,), timing_budgets, report))


def measure_paired(
    model: LoadedModel,
    reference: LoadedModel,
    timing_budgets: Sequence[TimingBudget],
    report: Callable[[str], None],
) -> tuple[Measurement, ...]:
    """Windows of `model` and `reference` in turn; the precision is that of their ratio.

    Seconds left over go to the efforts that follow. Raises RunnerError.
    """
    return tuple(
        replace(ours, reference=theirs)
        for ours, theirs in _measure((model, reference), timing_budgets, report)
    )


def ratio(measurement: Measurement, quantile: float = 0.5) -> Ratio:
    """Of the quantile `quantile` of each window to that of the reference's window beside it.

    Raises ValueError for a measurement without a reference.
    """
    if measurement.reference is None:
        raise ValueError(f"reference: {measurement.workload} was measured without one")
    return _estimate(
        _log_quantiles(measurement, quantile) - _log_quantiles(measurement.reference, quantile)
    )


def interval_ms(measurements: Sequence[Measurement], quantile: float = 0.5) -> Interval | None:
    """The 95 % interval of the windows' quantile `quantile`, in ms, of one model and workload.

    It knows of drift only what its windows show. None below three windows.
    """
    logs = np.concatenate([_log_quantiles(measurement, quantile) for measurement in measurements])
    estimate = _estimate(logs)
    if estimate.low is None or estimate.high is None:
        return None
    return Interval(low=estimate.low / 1e6, high=estimate.high / 1e6)


class _Turns:
    """The windows of one model, all of one workload.

    log_times: of each window the logarithm of its quantile `quantile`, in ns.
    """

    def __init__(self, model: LoadedModel, workload: Workload, quantile: float) -> None:
        self.model = model
        self.workload = workload
        self.quantile = quantile
        self.windows: list[Window] = []
        self.log_times: list[float] = []
        self.samples = 1 if workload.phase == "prefill" else min(_PROBE_TOKENS, workload.tokens)
        self.warmup = [self._warm_up()]
        if sum(self.warmup[0].samples_ns) < _LONG_PROBE_NS:  # it was cold, and may mislead
            self.warmup.append(self._warm_up())

    def take(self) -> None:
        window = self.model.time(self.workload, self.samples)
        self.windows.append(window)
        self.log_times.append(math.log(np.quantile(window.samples_ns, self.quantile)))

    def measurement(
        self, before: DeviceSnapshot, after: DeviceSnapshot, disturbance: Disturbance | None
    ) -> Measurement:
        loading = self.model.loading
        return Measurement(
            workload=self.workload,
            runtime=loading.runtime,
            threads=loading.threads,
            cores=loading.cores,
            samples_ns=_samples_ns(self.windows),
            warmup_ns=_samples_ns(self.warmup),
            load_ns=loading.load_ns,
            peak_memory_bytes=max(
                window.peak_memory_bytes for window in (*self.warmup, *self.windows)
            ),
            environment=before.environment,
            window=self.samples,
            empty_memory_bytes=loading.empty_memory_bytes,
            loaded_memory_bytes=loading.loaded_memory_bytes,
            model_bytes=loading.model_bytes,
            environment_after=after.environment,
            disturbance=disturbance,
        )

    def _warm_up(self) -> Window:
        """A window that is not counted; tells how many samples the next one is to have."""
        start = time.perf_counter_ns()
        window = self.model.time(self.workload, self.samples)
        overhead_ns = time.perf_counter_ns() - start - sum(window.samples_ns)
        wanted_ns = max(_WINDOW_NS, _OVERHEADS * overhead_ns)
        self.samples = max(1, round(wanted_ns / np.median(window.samples_ns)))
        if self.workload.phase == "decode":
            self.samples = min(self.samples, self.workload.tokens)
        return window


def _measure(
    models: tuple[LoadedModel, ...],
    timing_budgets: Sequence[TimingBudget],
    report: Callable[[str], None],
) -> Iterator[tuple[Measurement, ...]]:
    left_over = 0.0
    for timing_budget in timing_budgets:
        start = time.monotonic()
        seconds = timing_budget.seconds + left_over
        yield _sample(models, replace(timing_budget, seconds=seconds), report)
        left_over = max(0.0, start + seconds - time.monotonic())


def _sample(
    models: tuple[LoadedModel, ...], timing_budget: TimingBudget, report: Callable[[str], None]
) -> tuple[Measurement, ...]:
    start = reported = time.monotonic()
    turns = [_Turns(model, timing_budget.workload, timing_budget.quantile) for model in models]
    before = [
        model.snapshot() for model in models
    ]  # when all are warm: what is between the looks is counted
    sampling = time.monotonic()
    for count in itertools.count(1):
        for turn in turns if count % 2 else reversed(turns):  # ABBA: what drifts evenly cancels
            turn.take()
        estimate = _estimate(_log_times(turns))
        now = time.monotonic()
        precise = count >= _FEWEST_RANKED and _half_width(estimate) <= timing_budget.precision
        spent = now + (now - sampling) / count > start + timing_budget.seconds
        ends = precise or (spent and count >= timing_budget.fewest)
        if ends or now > reported + _REPORT_SECONDS:
            report(_sentence(turns, estimate))
            reported = now
        if ends:
            break
    after = [model.snapshot() for model in models]
    cores = {core for model in models for core in model.loading.cores}
    disturbance = _disturbance(before, after, sorted(cores))
    return tuple(
        turn.measurement(first, last, disturbance)
        for turn, first, last in zip(turns, before, after, strict=True)
    )


def _log_times(turns: Sequence[_Turns]) -> NDArray[np.float64]:
    """Of the ratio where there are two models."""
    ours, *reference = (np.array(turn.log_times) for turn in turns)
    return ours - reference[0] if reference else ours


def _sentence(turns: Sequence[_Turns], estimate: Ratio) -> str:
    workload, count, half_width = turns[0].workload, len(turns[0].windows), _half_width(estimate)
    if len(turns) == 2:
        known = f" ±{estimate.value * half_width:.3f}" if math.isfinite(half_width) else ""
        return f"{workload}: {count} pairs, ratio {estimate.value:.3f}{known}"
    known = f" ±{100 * half_width:.1f} %" if math.isfinite(half_width) else ""
    return f"{workload}: {count} windows, {estimate.value / 1e6:.3f} ms{known}"


def _estimate(logs: NDArray[np.float64]) -> Ratio:
    """Hodges and Lehmann's estimate, the median of the means of any two, and its interval.

    The interval is that of Wilcoxon's signed ranks (Hollander, Wolfe and Chicken, Nonparametric
    Statistical Methods, 3.3, for large samples), widened where windows resemble the ones before
    them; or Student's where windows are too few for ranks. On recorded noise the error is up to
    half that of the mean, as bursts of others' work have long tails.
    """
    count = len(logs)
    first, second = np.triu_indices(count)
    means = np.sort((logs[first] + logs[second]) / 2)
    middle = float(np.median(means))
    if count < _FEWEST_TELLING:
        return Ratio(value=math.exp(middle), low=None, high=None)
    if count < _FEWEST_RANKED:
        below = above = stdtrit(count - 1, 0.975) * logs.std(ddof=1) / math.sqrt(count)
    else:
        spread = math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
        outside = math.floor(count * (count + 1) / 4 - _NORMAL_975 * spread)
        wider = _widening(logs)
        below = wider * (middle - means[outside - 1])
        above = wider * (means[-outside] - middle)
    return Ratio(
        value=math.exp(middle), low=math.exp(middle - below), high=math.exp(middle + above)
    )


def _widening(logs: NDArray[np.float64]) -> float:
    """What a correlation of each window with the one before it adds to the error of their mean.

    That of a first-order autoregression, from the correlation of ranks; never below 1.
    """
    ordered = np.sort(logs)
    ranks = ordered.searchsorted(logs, "left") + ordered.searchsorted(logs, "right") - len(logs)
    if not ranks.any():  # all windows are equal
        return 1.0
    correlation = max(0.0, float(ranks[1:] @ ranks[:-1] / (ranks @ ranks)))
    return math.sqrt((1 + correlation) / (1 - correlation))


def _half_width(estimate: Ratio) -> float:
    """As a share of the value; infinite where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return math.inf
    return Interval(low=estimate.low, high=estimate.high).half_width


def _log_quantiles(measurement: Measurement, quantile: float) -> NDArray[np.float64]:
    return np.log(window_quantiles_ns(measurement, quantile))


def _samples_ns(windows: Sequence[Window]) -> tuple[int, ...]:
    return tuple(sample for window in windows for sample in window.samples_ns)


def _disturbance(
    before: Sequence[DeviceSnapshot], after: Sequence[DeviceSnapshot], cores: Sequence[int]
) -> Disturbance | None:
    """From what each measuring process saw; None where the system keeps no counters.

    Without pinned cores all are measuring cores.
    """
    spans = [
        (first.counters, last.counters)
        for first, last in zip(before, after, strict=True)
        if first.counters is not None and last.counters is not None
    ]
    if len(spans) < len(before):
        return None
    own_s = sum(last.own_s - first.own_s for first, last in spans)
    first, last = spans[0]  # any of them saw the whole machine
    elapsed_s = (last.at_ns - first.at_ns) / 1e9
    busy_s = np.subtract(last.busy_s, first.busy_s)
    steal_s = np.subtract(last.steal_s, first.steal_s)
    measuring = np.isin(np.arange(len(busy_s)), cores or range(len(busy_s)))
    measuring_s = elapsed_s * measuring.sum()
    return Disturbance(
        steal=float(steal_s[measuring].sum() / measuring_s),
        # The counters tick in hundredths of a second, so others may seem to have used less than 0.
        beside=max(0.0, float((busy_s[measuring].sum() - own_s) / measuring_s)),
        elsewhere=float(busy_s[~measuring].sum() / elapsed_s),
    )
