"""What measurements of models next to one reference model say about it and about their ratios."""

import math

import pytest

from evaluators.calibration import CalibrationsInMemory
from evaluators.speed.calibrated_times import CalibratedTimes
from hardware.measurement import Disturbance, Measurement
from tests.hardware.clocks import DECODE
from tests.hardware.measurements import measured

# A core that other programs keep busy all the time, next to the measuring one.
BUSY = Disturbance(steal=0.0, beside=0.0, elsewhere=1.1)


def run(ratio: float, reference_ms: float, disturbance: Disturbance | None = None) -> Measurement:
    """Return a run of six windows, in all of which the ratio is the same."""
    facts = {"measured_at": 1_000.0, "disturbance": disturbance}
    reference = measured([[1e6 * reference_ms] * 4] * 6, **facts)
    return measured([[1e6 * ratio * reference_ms] * 4] * 6, reference, **facts)


@pytest.fixture
def times() -> CalibratedTimes:
    return CalibratedTimes(CalibrationsInMemory(), device="int4 board", reference="ab")


def test_a_calibration_is_found_by_device_reference_and_workload(times: CalibratedTimes) -> None:
    assert times.add([run(1.5, 10.0)]) == ()
    calibration = times.calibration(DECODE)
    assert calibration.milliseconds == pytest.approx(10)
    key = calibration.key
    assert (key.device, key.reference, key.workload) == ("int4 board", "ab", str(DECODE))


def test_a_load_that_slows_the_reference_down_counts_less(times: CalibratedTimes) -> None:
    times.add([run(1.5, 10.0)])
    times.add([run(1.5, 20.0, BUSY)])
    assert times.calibration(DECODE).milliseconds == pytest.approx(10, rel=0.02)


def test_a_reference_of_too_few_windows_is_hardly_known(times: CalibratedTimes) -> None:
    facts = {"measured_at": 1_000.0}
    reference = measured([[1e7] * 4] * 2, **facts)
    times.add([measured([[1e7] * 4] * 2, reference, **facts)])
    calibration = times.calibration(DECODE)
    assert calibration.error == pytest.approx(math.hypot(0.5, 0.02), rel=0.01)
    assert not calibration.is_settled


def test_a_reference_that_was_slower_than_is_normal_widens_the_ratio(
    times: CalibratedTimes,
) -> None:
    times.add([run(1.5, 10.0)])
    normal, slower, much_slower = (
        times.ratio([run(1.5, reference_ms)]).half_width for reference_ms in (10.0, 10.2, 13.0)
    )
    assert normal == slower < 0.1 < much_slower


def test_a_busy_core_widens_the_ratio_even_if_the_reference_is_as_fast_as_ever(
    times: CalibratedTimes,
) -> None:
    times.add([run(1.5, 10.0)])
    assert times.ratio([run(1.5, 10.0, BUSY)]).half_width > (
        2 * times.ratio([run(1.5, 10.0)]).half_width
    )


@pytest.mark.parametrize(("ratios", "is_wider"), [((1.0, 1.5), True), ((1.5, 1.5), False)])
def test_repeats_show_how_far_runs_differ(
    times: CalibratedTimes, ratios: tuple[float, float], is_wider: bool
) -> None:
    earlier, later = (run(ratio, 10.0) for ratio in ratios)
    times.add([earlier])
    before = times.ratio([run(1.2, 10.0)]).half_width
    times.learn_from_repeats([earlier], [later])
    after = times.ratio([run(1.2, 10.0)]).half_width
    assert after > 1.5 * before if is_wider else after < before
