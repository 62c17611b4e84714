"""Models that were timed side by side: what was measured, and what follows for each workload."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from hardware.measurement import Interval, Measurement, Workload
from hardware.stability import Ratio, TimingBudget, interval_ms, ratio
from nas.inputs.measurable import Measurable
from search_space.quantization import Quantization


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """measurements: one an effort, in their order; each has its `reference` where there is one."""

    model: Measurable
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    model: Measurable
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """reference: what the others were timed in alternation with; None where one was timed alone,
        or nothing.

    quantization: of the models that were built; files are as they are.
    waited_s: for a quiet machine, before anything was measured.
    """

    timing_budgets: tuple[TimingBudget, ...]
    quantization: Quantization
    reference: Measurable | None
    measured: tuple[Measured, ...]
    failures: tuple[Failure, ...]
    waited_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One workload of one model.

    p50_ms, p95_ms: a prompt's, or a token's. Beside a reference they are the ratio to it times what
        it took on the whole, so that models compare although they ran at different times.
    interval: of p50_ms, 95 %: the ratio's, times the same; of the reference itself, its own.
    measurements: one; of the reference as many as models were timed beside it.
    ratio: to the reference; None for that itself, and without one.
    settled: known as precisely as was asked for; None for the reference, of which nothing is asked.
    """

    model: Measurable
    workload: Workload
    p50_ms: float
    p95_ms: float
    interval: Interval | None
    measurements: tuple[Measurement, ...]
    ratio: Ratio | None = None
    settled: bool | None = None

    @property
    def tokens_per_second(self) -> float:
        tokens = self.workload.tokens if self.workload.phase == "prefill" else 1
        return tokens * 1e3 / self.p50_ms


def results_of(comparison: Comparison) -> tuple[Result, ...]:
    """Workload by workload, the reference before the others."""
    return tuple(
        result
        for index, timing_budget in enumerate(comparison.timing_budgets)
        for result in _results(comparison, timing_budget, index)
    )


def _results(comparison: Comparison, timing_budget: TimingBudget, index: int) -> Iterator[Result]:
    measured = [(each.model, each.measurements[index]) for each in comparison.measured]
    reference = comparison.reference
    if reference is None:
        for model, measurement in measured:
            result = _by_itself(model, timing_budget, (measurement,))
            yield replace(result, settled=_is_settled(timing_budget, result.interval))
        return
    beside = tuple(each.reference for _, each in measured if each.reference is not None)
    whole = _by_itself(reference, timing_budget, beside)
    yield whole
    for model, measurement in measured:
        median, tail = ratio(measurement), ratio(measurement, 0.95)
        interval = None
        if median.low is not None and median.high is not None:
            low, high = median.low * whole.p50_ms, median.high * whole.p50_ms
            interval = Interval(low=low, high=high)
        yield Result(
            model=model,
            workload=timing_budget.workload,
            p50_ms=median.value * whole.p50_ms,
            p95_ms=tail.value * whole.p95_ms,
            interval=interval,
            ratio=median,
            settled=_is_settled(timing_budget, interval),
            measurements=(measurement,),
        )


def _by_itself(
    model: Measurable, timing_budget: TimingBudget, measurements: tuple[Measurement, ...]
) -> Result:
    samples_ns = list(chain.from_iterable(each.samples_ns for each in measurements))
    return Result(
        model=model,
        workload=timing_budget.workload,
        p50_ms=float(np.quantile(samples_ns, 0.5)) / 1e6,
        p95_ms=float(np.quantile(samples_ns, 0.95)) / 1e6,
        interval=interval_ms(measurements),
        measurements=measurements,
    )


def _is_settled(timing_budget: TimingBudget, interval: Interval | None) -> bool:
    """As the sampling judges it, which ends then."""
    return interval is not None and interval.half_width <= timing_budget.precision
