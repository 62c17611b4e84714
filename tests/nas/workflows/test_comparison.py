"""Results of measurements whose ratios, scatter and waiting times are chosen by the test.

The expected intervals are computed from the standard deviations between runs of models of one size
and between quiet moments.
"""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from evaluators.calibration import BETWEEN_TIMES
from hardware.environment import read_environment
from hardware.measurement import Disturbance, Measurement, parse_workload
from hardware.repeatability import BETWEEN_RUNS
from hardware.stability import TimingBudget
from nas.inputs.model_argument import Measurable
from nas.workflows.comparison import Comparison, Measured, provisional_workloads, results_of
from tests.search_space.strategies import CORNERS

A, B, C = (
    Measurable(name=name, source=CORNERS[corner])
    for name, corner in (("a", "one layer"), ("b", "kernel 1"), ("c", "only attention"))
)
DECODE, PREFILL = parse_workload("tg8@16"), parse_workload("pp100")
OF_RUNS, OF_TIMES = 1.96 * BETWEEN_RUNS["decode"], 1.96 * BETWEEN_TIMES
# Another program keeps one other core busy all the time.
BUSY = Disturbance(steal=0.0, beside=0.0, elsewhere=1.0)
# Windows that are long enough for their 95 % quantile.
LONG = 40

_seconds = itertools.count(1_000)


def measurement(*windows_ms: float, reference: Measurement | None = None, **changes: object):
    """Return a measurement whose windows contain two equal samples each."""
    return of_windows([[each] * 2 for each in windows_ms], reference=reference, **changes)


def of_windows(windows_ms, reference: Measurement | None = None, **changes: object) -> Measurement:
    found = Measurement(
        workload=DECODE,
        runtime="test",
        threads=1,
        cores=(0,),
        samples_ns=tuple(round(1e6 * sample) for window in windows_ms for sample in window),
        warmup_ns=(),
        load_ns=1,
        peak_memory_bytes=1,
        environment=read_environment("test 1"),
        window=len(windows_ms[0]),
        measured_at=float(next(_seconds)),
        reference=reference,
    )
    return replace(found, **changes)


def run(ratio: float, *reference_ms: float, **changes: object) -> Measurement:
    """Return a run whose ratio is the same in all windows."""
    ours = [ratio * each for each in reference_ms]
    return measurement(*ours, reference=measurement(*reference_ms), **changes)


def scattered(ratio: float, deviation: float) -> Measurement:
    """Return a run whose ratio has about this standard deviation between windows."""
    logs = deviation * np.random.default_rng(0).standard_normal(12)
    return measurement(*(10 * ratio * np.exp(logs)), reference=measurement(*[10.0] * 12))


def disturbed(ratio: float) -> Measurement:
    reference = measurement(*[10.0] * 6, disturbance=BUSY)
    return measurement(*[10.0 * ratio] * 6, disturbance=BUSY, reference=reference)


def measured(model: Measurable, *runs: Measurement) -> Measured:
    return Measured(model=model, runs=(runs,))


def comparison_of(
    *models: Measured, reference: Measurable | None, precision: float = 0.1
) -> Comparison:
    workloads = [runs[0].workload for runs in models[0].runs]
    return Comparison(
        timing_budgets=tuple(
            TimingBudget(workload=each, precision=precision) for each in workloads
        ),
        quantization="int4",
        reference=reference,
        measured=models,
        failures=(),
        waited_s=0.0,
    )


def compare(*models: Measured, reference: Measurable | None, precision: float = 0.1):
    return results_of(comparison_of(*models, reference=reference, precision=precision))


def half_width(interval) -> float:
    return math.log(interval.high / interval.low) / 2


def test_models_are_comparable_although_the_machine_was_slower_for_one_of_them() -> None:
    quick, slow = run(1.5, *[10.0] * 6), run(1.2, *[11.0] * 6)
    reference, first, second = compare(measured(B, quick), measured(C, slow), reference=A)
    assert [each.model for each in (reference, first, second)] == [A, B, C]
    middle = math.sqrt(10 * 11)
    assert reference.p50_ms == pytest.approx(middle)
    assert (first.p50_ms, second.p50_ms) == pytest.approx((1.5 * middle, 1.2 * middle))
    assert [each.is_reference for each in (reference, first, second)] == [True, False, False]
    assert (reference.ratio, len(reference.measurements)) == (None, 2)
    assert second.ratio.value == pytest.approx(1.2)


def test_an_interval_covers_other_runs_and_the_time_of_the_reference() -> None:
    reference, result = compare(measured(B, run(1.5, *[10.0] * 6)), reference=A)
    assert half_width(reference.interval) == pytest.approx(OF_TIMES)
    assert half_width(result.ratio.interval) == pytest.approx(OF_RUNS)
    assert half_width(result.interval) == pytest.approx(math.hypot(OF_RUNS, OF_TIMES))
    assert not reference.provisional


def test_several_runs_count_together() -> None:
    runs = [run(ratio, *[10.0] * 6) for ratio in (1.49, 1.5, 1.51)]
    reference, result = compare(measured(B, *runs), reference=A)
    assert result.ratio.value == pytest.approx(1.5, rel=1e-3)
    assert len(result.measurements) == len(reference.measurements) == 3
    once = compare(measured(B, runs[1]), reference=A)[1]
    assert half_width(result.ratio.interval) < half_width(once.ratio.interval)


def test_repeats_that_differ_widen_the_intervals_of_all_models() -> None:
    """Two runs that differ by half show that runs scatter by more than is assumed at first."""
    steady = run(1.5, *[10.0] * 6)
    differing = [run(ratio, *[10.0] * 6) for ratio in (1.0, 1.5)]
    alone = compare(measured(B, steady), reference=A)[1]
    together = compare(measured(B, steady), measured(C, *differing), reference=A)[1]
    assert half_width(together.ratio.interval) > 1.5 * half_width(alone.ratio.interval)


def test_precision_applies_to_the_ratio() -> None:
    """The interval of the time is wider than that of the ratio, but that is common to all."""
    for precision, provisional in ((1.1 * OF_RUNS, False), (0.9 * OF_RUNS, True)):
        _, result = compare(measured(B, run(1.5, *[10.0] * 6)), reference=A, precision=precision)
        assert result.provisional == provisional


def test_a_result_without_an_interval_is_provisional() -> None:
    _, result = compare(measured(B, run(1.5, 10.0, 10.0)), reference=A)
    assert (result.interval, result.ratio.interval, result.provisional) == (None, None, True)


def test_waiting_for_a_core_does_not_count_but_leaves_a_doubt() -> None:
    ours = of_windows([[30.0] * 4] * 6, waited_ns=(15_000_000,) * 24)
    reference = of_windows([[20.0] * 4] * 6, waited_ns=(10_000_000,) * 24)
    paired = replace(ours, reference=reference)
    own, result = compare(measured(B, paired), reference=A)
    assert own.p50_ms == pytest.approx(10)
    assert result.p50_ms == pytest.approx(15)
    assert result.provisional
    assert own.provisional


def test_a_busy_core_elsewhere_leaves_a_doubt() -> None:
    reference, quiet = compare(measured(B, run(1.5, *[10.0] * 6)), reference=A)
    assert not reference.provisional
    assert not quiet.provisional
    reference, loaded = compare(measured(B, disturbed(1.5)), reference=A)
    assert reference.provisional
    assert loaded.provisional


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("window", [LONG, 8, 1])
def test_the_tail_is_never_below_the_median(seed: int, window: int) -> None:
    """A model by itself needs long windows for an interval; next to another, many samples do."""
    generator = np.random.default_rng(seed)

    def windows(scale: float):
        return scale * np.exp(0.3 * generator.standard_normal((12, window)))

    runs = [of_windows(windows(15), reference=of_windows(windows(10))) for _ in range(3)]
    for result in (
        *compare(measured(B, *runs), reference=A),
        *compare(measured(A, of_windows(windows(15))), reference=None),
    ):
        assert result.p95_ms >= result.p50_ms
        is_known = window == LONG or (window == 8 and result.ratio is not None)
        assert (result.p95_interval is not None) == is_known


def test_the_tail_is_the_quantile_of_the_windows() -> None:
    """One in ten of the 20 samples that count takes twice as long."""
    window = [10.0] * (LONG // 2) + ([10.0] * 9 + [20.0]) * (LONG // 20)
    ours = of_windows([window] * 6, reference=of_windows([[10.0] * LONG] * 6))
    reference, result = compare(measured(B, ours), reference=A)
    assert (reference.p50_ms, reference.p95_ms) == pytest.approx((10, 10))
    assert (result.p50_ms, result.p95_ms) == pytest.approx((10, 20))
    assert result.p95_interval.low < 20 < result.p95_interval.high


def test_a_model_that_is_timed_alone_prompt_by_prompt_has_a_tail() -> None:
    """Windows of one sample each, one in ten of which takes twice as long."""
    prompts = of_windows([[10.0 if n % 10 else 20.0] for n in range(30)])
    (result,) = compare(measured(A, prompts), reference=None)
    assert (result.p50_ms, result.p95_ms) == pytest.approx((10, 20))
    assert result.p95_interval is None


def test_the_time_of_a_single_model_covers_other_moments() -> None:
    """These are left out of the judgement, because no longer measurement reduces them."""
    alone = measured(A, measurement(*[10.0] * 6))
    (result,) = compare(alone, reference=None, precision=0.001)
    assert (result.p50_ms, result.ratio) == (pytest.approx(10), None)
    assert half_width(result.interval) == pytest.approx(OF_TIMES)
    assert not result.provisional
    assert not result.is_reference


def test_a_single_model_with_unequal_windows_is_provisional() -> None:
    alone = measured(A, measurement(*[9.0, 10.0, 11.0] * 4))
    assert not compare(alone, reference=None, precision=0.2)[0].provisional
    assert compare(alone, reference=None, precision=0.01)[0].provisional


def test_provisional_workloads_are_those_to_measure_again() -> None:
    def of_workloads(model: Measurable, decode: Measurement, prefill: Measurement) -> Measured:
        reference = replace(prefill.reference, workload=PREFILL)
        prefill = replace(prefill, workload=PREFILL, reference=reference)
        return Measured(model=model, runs=((decode,), (prefill,)))

    steady, wild = run(1.5, *[10.0] * 6), scattered(1.5, 0.2)
    models = of_workloads(B, steady, wild), of_workloads(C, steady, steady)
    comparison = comparison_of(*models, reference=A, precision=0.05)
    prefill = comparison.timing_budgets[1]
    assert prefill.workload == PREFILL
    assert provisional_workloads(comparison) == {0: (prefill,)}
    settled = comparison_of(models[1], reference=A, precision=0.05)
    assert provisional_workloads(settled) == {}


def test_if_only_the_reference_is_provisional_the_first_model_is_measured_again() -> None:
    models = measured(B, disturbed(1.5)), measured(C, disturbed(1.2))
    comparison = comparison_of(*models, reference=A, precision=0.3)
    reference, *others = results_of(comparison)
    assert reference.provisional
    assert not any(each.provisional for each in others)
    assert provisional_workloads(comparison) == {0: comparison.timing_budgets}


def test_tokens_per_second_are_those_of_the_shown_time() -> None:
    prefill = measurement(50.0, workload=PREFILL)
    model = Measured(model=A, runs=((measurement(5.0),), (prefill,)))
    found = compare(model, reference=None)
    assert [each.tokens_per_second for each in found] == pytest.approx([200, 2000])
