import math

import pytest

from hardware.environment import read_environment
from hardware.measurement import Measurement, parse_workload
from hardware.stability import TimingBudget
from nas.inputs.model_argument import Measurable
from nas.workflows.comparison import Comparison, Measured, results_of
from tests.search_space.strategies import CORNERS

A, B, C = (
    Measurable(name=name, source=CORNERS[corner])
    for name, corner in (("a", "one layer"), ("b", "kernel 1"), ("c", "only attention"))
)
DECODE, PREFILL = parse_workload("tg8@16"), parse_workload("pp100")


def measurement(
    *windows_ms: float, workload=DECODE, reference: Measurement | None = None
) -> Measurement:
    """Return a measurement whose windows contain two equal samples each."""
    return Measurement(
        workload=workload,
        runtime="test",
        threads=1,
        cores=(0,),
        samples_ns=tuple(round(1e6 * each) for each in windows_ms for _ in range(2)),
        warmup_ns=(),
        load_ns=1,
        peak_memory_bytes=1,
        environment=read_environment("test 1"),
        window=2,
        reference=reference,
    )


def compare(*measured: Measured, reference: Measurable | None, precision: float = 0.1):
    workloads = [each.workload for each in measured[0].measurements]
    return results_of(
        Comparison(
            timing_budgets=tuple(
                TimingBudget(workload=each, precision=precision) for each in workloads
            ),
            quantization="int4",
            reference=reference,
            measured=measured,
            failures=(),
            waited_s=0.0,
        )
    )


def paired(model: Measurable, ratio: float, *reference_ms: float) -> Measured:
    ours = [ratio * each for each in reference_ms]
    return Measured(
        model=model,
        measurements=(measurement(*ours, reference=measurement(*reference_ms)),),
    )


def test_models_are_comparable_although_the_machine_was_slower_for_one_of_them() -> None:
    quick, slow = [10.0] * 6, [20.0] * 5
    reference, first, second = compare(paired(B, 3, *quick), paired(C, 2, *slow), reference=A)
    assert [each.model for each in (reference, first, second)] == [A, B, C]
    assert (reference.p50_ms, reference.p95_ms) == (10, 20)
    assert (first.p50_ms, second.p50_ms) == pytest.approx((30, 20))
    assert (first.p95_ms, second.p95_ms) == pytest.approx((60, 40))
    assert (reference.ratio, reference.settled) == (None, None)
    assert len(reference.measurements) == 2
    assert second.ratio.value == pytest.approx(2)
    assert second.settled


def test_the_interval_is_the_ratios_times_the_references_median() -> None:
    ours = measurement(
        *(20 * math.exp(log) for log in (-0.1, 0, 0.1)), reference=measurement(*[10.0] * 3)
    )
    _, result = compare(Measured(model=B, measurements=(ours,)), reference=A)
    assert result.interval.low == pytest.approx(10 * result.ratio.low)
    assert result.interval.high == pytest.approx(10 * result.ratio.high)
    assert result.settled is False


def test_what_has_no_interval_is_not_settled() -> None:
    _, result = compare(paired(B, 2, 10.0, 10.0), reference=A)
    assert (result.interval, result.settled) == (None, False)


def test_a_model_alone_has_its_own_interval() -> None:
    alone = Measured(model=A, measurements=(measurement(*[9.0, 10.0, 11.0] * 4),))
    (result,) = compare(alone, reference=None)
    assert (result.p50_ms, result.ratio) == (10, None)
    assert result.interval.low < 10 < result.interval.high
    assert result.settled
    (result,) = compare(alone, reference=None, precision=0.01)
    assert result.settled is False


def test_tokens_a_second_are_of_the_shown_time() -> None:
    found = compare(
        Measured(model=A, measurements=(measurement(5.0), measurement(50.0, workload=PREFILL))),
        reference=None,
    )
    assert [each.tokens_per_second for each in found] == pytest.approx([200, 2000])
