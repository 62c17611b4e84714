"""The results of timing models interleaved with a reference model."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from hardware.measurement import Interval, Measurement, Workload
from hardware.stability import Ratio, TimingBudget, interval_ms, ratio
from nas.inputs.model_argument import Measurable
from search_space.quantization import Quantization


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A model and its measurements.

    Attributes:
        model: The model.
        measurements: One per timing budget, in the same order. Each contains the measurement of the
            reference model, unless the model was timed alone.
    """

    model: Measurable
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A model that could not be measured, and the reason."""

    model: Measurable
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The measurements of several models.

    Attributes:
        timing_budgets: One per workload, in the order in which they were measured.
        quantization: The quantisation of architectures; model files are measured as they are.
        reference: The model that the others were timed interleaved with; None if a single model was
            timed alone, or if nothing was measured.
        measured: The models that were measured, without the reference model.
        failures: The models that could not be measured.
        waited_s: Seconds spent waiting for a quiet machine before the first measurement.
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

    Times are per prompt for prefill and per token for decoding. With a reference model, a time is
    the ratio to the reference model multiplied by the reference model's time over all measurements,
    so that models are comparable although they ran at different times.

    Attributes:
        model: The model.
        workload: The workload.
        p50_ms: Median time in milliseconds.
        p95_ms: 95 % quantile of the time in milliseconds.
        interval: 95 % confidence interval of `p50_ms`; with a reference model, that of the ratio
            multiplied in the same way. For the reference model, that of its own median.
        measurements: One; for the reference model, one per model that was timed with it.
        ratio: Ratio to the reference model; None for the reference model and without one.
        settled: Whether the interval is as narrow as requested; None for the reference model, for
            which no precision is requested.
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
        """Tokens read or written per second, at the median time."""
        tokens = self.workload.tokens if self.workload.phase == "prefill" else 1
        return tokens * 1e3 / self.p50_ms


def results_of(comparison: Comparison) -> tuple[Result, ...]:
    """Return the results workload by workload, with the reference model first."""
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
            result = _own_times(model, timing_budget, (measurement,))
            yield replace(result, settled=_is_settled(timing_budget, result.interval))
        return
    interleaved = tuple(each.reference for _, each in measured if each.reference is not None)
    overall = _own_times(reference, timing_budget, interleaved)
    yield overall
    for model, measurement in measured:
        median, tail = ratio(measurement), ratio(measurement, 0.95)
        interval = None
        if median.low is not None and median.high is not None:
            low, high = median.low * overall.p50_ms, median.high * overall.p50_ms
            interval = Interval(low=low, high=high)
        yield Result(
            model=model,
            workload=timing_budget.workload,
            p50_ms=median.value * overall.p50_ms,
            p95_ms=tail.value * overall.p95_ms,
            interval=interval,
            ratio=median,
            settled=_is_settled(timing_budget, interval),
            measurements=(measurement,),
        )


def _own_times(
    model: Measurable, timing_budget: TimingBudget, measurements: tuple[Measurement, ...]
) -> Result:
    """Return the times of a model itself, without a reference model."""
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
    """Apply the criterion at which sampling stops."""
    return interval is not None and interval.half_width <= timing_budget.precision
