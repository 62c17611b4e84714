"""The results of timing models interleaved with a reference model."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from evaluators.calibration import Calibration, CalibrationsInMemory
from evaluators.speed.calibrated_times import CalibratedTimes
from hardware.measurement import Interval, Measurement, Workload, quantile_ms
from hardware.repeatability import RepeatableRatio, has_long_windows, own_time
from hardware.stability import TimingBudget
from nas.inputs.model_argument import Measurable
from search_space.quantization import Quantization

_TAIL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A model and its measurements.

    Attributes:
        model: The model.
        runs: For each timing budget, in the same order, one or several measurements in
            chronological order, each of another load of the model. Each contains the measurement of
            the reference model, unless the model was timed alone.
    """

    model: Measurable
    runs: tuple[tuple[Measurement, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A model that could not be measured.

    Attributes:
        model: The model.
        reason: Why it was not measured.
        is_file_refused: Whether the model is a file that the runtime refused to load or to run.
    """

    model: Measurable
    reason: str
    is_file_refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The measurements of several models.

    Attributes:
        timing_budgets: One per workload, in the order in which they were measured. The precision is
            that of the ratio to the reference model, or of the time of a single model.
        quantization: The quantisation of architectures; model files are measured as they are.
        reference: The model that the others were timed interleaved with; None if a single model was
            timed alone, or if nothing was measured.
        measured: The models that were measured, without the reference model.
        failures: The models that could not be measured.
        waited_s: Seconds spent waiting for a quiet machine.
        remarks: What the user should know about how the times came about, as sentences.
    """

    timing_budgets: tuple[TimingBudget, ...]
    quantization: Quantization
    reference: Measurable | None
    measured: tuple[Measured, ...]
    failures: tuple[Failure, ...]
    waited_s: float
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One workload of one model.

    Times are per prompt for prefill and per token for decoding, without the time spent waiting for
    a core. With a reference model, a time is the ratio to the reference model multiplied by the
    reference model's time according to all measurements, so that models are comparable although
    they ran at different times.

    Attributes:
        model: The model.
        workload: The workload.
        p50_ms: Median time in milliseconds.
        interval: 95 % confidence interval of `p50_ms`, in milliseconds. It covers the errors of the
            ratio and of the reference model's time; None if a run had too few windows for one.
        p95_ms: 95 % quantile of the time in milliseconds.
        p95_interval: 95 % confidence interval of `p95_ms`, in milliseconds; None if a window had
            too few samples for one.
        measurements: One per run; for the reference model, one per run of any other model.
        provisional: Whether the result is too uncertain. Of a model, the interval of the ratio is
            wider than requested or unknown; of a single model, that of its time, apart from the
            scatter between quiet moments, which a longer measurement does not reduce. Of the
            reference model, its time is not settled (see `Calibration.is_settled`).
        ratio: Ratio of the medians to the reference model; None for the reference model and without
            one.
        is_reference: Whether the model is the reference model.
    """

    model: Measurable
    workload: Workload
    p50_ms: float
    interval: Interval | None
    p95_ms: float
    p95_interval: Interval | None
    measurements: tuple[Measurement, ...]
    provisional: bool
    ratio: RepeatableRatio | None = None
    is_reference: bool = False

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


def provisional_workloads(comparison: Comparison) -> Mapping[int, tuple[TimingBudget, ...]]:
    """Return what is to be measured again.

    Measuring any model again also improves the time of the reference model. If only that is
    provisional, the first model is measured again.

    Returns:
        The timing budgets of the provisional results, by the position of the model among those
        measured.
    """
    found: dict[int, list[TimingBudget]] = {}
    for index, timing_budget in enumerate(comparison.timing_budgets):
        results = list(_results(comparison, timing_budget, index))
        models = [result for result in results if not result.is_reference]
        positions = [at for at, result in enumerate(models) if result.provisional]
        if not positions and any(result.provisional for result in results):
            positions = [0]
        for position in positions:
            found.setdefault(position, []).append(timing_budget)
    return {position: tuple(found[position]) for position in sorted(found)}


def _results(comparison: Comparison, timing_budget: TimingBudget, index: int) -> Iterator[Result]:
    runs_by_model = [(each.model, each.runs[index]) for each in comparison.measured]
    if not runs_by_model:
        return
    if comparison.reference is None:
        ((model, runs),) = runs_by_model
        times = _calibrated_times(model, [[_with_itself(run) for run in runs]])
        is_wide = _own_half_width(runs) > timing_budget.precision
        yield _own_result(model, runs, times, provisional=is_wide)
        return
    times = _calibrated_times(comparison.reference, [runs for _, runs in runs_by_model])
    calibration = times.calibration(timing_budget.workload)
    timings = [run.reference for _, runs in runs_by_model for run in runs]
    reference = _own_result(
        comparison.reference,
        [each for each in timings if each is not None],
        times,
        provisional=not calibration.is_settled,
    )
    yield replace(reference, is_reference=True)
    for model, runs in runs_by_model:
        ratio = times.ratio(runs)
        is_wide = ratio.half_width > timing_budget.precision
        tail = times.ratio(runs, _TAIL)
        result = _result(model, runs, calibration, ratio, tail, provisional=is_wide)
        yield replace(result, ratio=ratio)


def _calibrated_times(
    reference: Measurable, runs_by_model: Sequence[Sequence[Measurement]]
) -> CalibratedTimes:
    """Return what all measurements of one workload say about the reference model's time."""
    times = CalibratedTimes(CalibrationsInMemory(), device="", reference=reference.name)
    measurements = [run for runs in runs_by_model for run in runs]
    for run in sorted(measurements, key=lambda run: run.measured_at or 0.0):
        times.add([run])
    for runs in runs_by_model:
        for earlier, later in pairwise(runs):
            times.learn_from_repeats([earlier], [later])
    return times


def _own_result(
    model: Measurable, runs: Sequence[Measurement], times: CalibratedTimes, *, provisional: bool
) -> Result:
    """Return the result of the reference model or of a single model, whose `times` are its own."""
    calibration = times.calibration(runs[0].workload)
    median = RepeatableRatio(value=1.0, interval=Interval(low=1.0, high=1.0))
    tail = _own_tail(runs, times)
    return _result(model, runs, calibration, median, tail, provisional=provisional)


def _own_tail(runs: Sequence[Measurement], times: CalibratedTimes) -> RepeatableRatio:
    """Return the ratio of a model's 95 % quantile to its own median."""
    if all(map(has_long_windows, runs)):
        return times.ratio([_with_itself(run) for run in runs], _TAIL)
    # With few samples in a window, drift between windows cannot be distinguished from the tail.
    ratios = [quantile_ms(run, _TAIL) / quantile_ms(run, 0.5) for run in runs]
    return RepeatableRatio(value=statistics.median(ratios), interval=None)


def _result(
    model: Measurable,
    runs: Sequence[Measurement],
    calibration: Calibration,
    median: RepeatableRatio,
    tail: RepeatableRatio,
    *,
    provisional: bool,
) -> Result:
    p50_ms, interval = _converted(calibration, median)
    p95_ms, p95_interval = _converted(calibration, tail)
    return Result(
        model=model,
        workload=runs[0].workload,
        p50_ms=p50_ms,
        interval=interval,
        p95_ms=max(p50_ms, p95_ms),  # runs may have other weights in the median than in the tail
        p95_interval=p95_interval,
        measurements=tuple(runs),
        provisional=provisional,
    )


def _converted(calibration: Calibration, ratio: RepeatableRatio) -> tuple[float, Interval | None]:
    """Convert a ratio to milliseconds."""
    interval = ratio.interval
    bounds = (None, None) if interval is None else (interval.low, interval.high)
    value, low, high = calibration.convert(ratio.value, *bounds)
    if low is None or high is None:
        return value, None
    return value, Interval(low=low, high=high)


def _own_half_width(runs: Sequence[Measurement]) -> float:
    """Return half the width of the interval of a single model's best run, as a fraction."""
    return min(own_time(run).half_width for run in runs)


def _with_itself(measurement: Measurement) -> Measurement:
    """Return the measurement with itself as its reference."""
    return replace(measurement, reference=measurement)
