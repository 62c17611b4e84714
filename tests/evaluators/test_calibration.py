"""The time of the reference model, from simulated timings with known errors."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.calibration import (
    BETWEEN_TIMES,
    WIDEST_SETTLED,
    Calibration,
    CalibrationsInMemory,
    ReferenceTiming,
    calibrate,
)
from hardware.measurement import Interval
from hardware.repeatability import BETWEEN_RUNS
from tests.evaluators.calibration_conformance import (
    DECODE,
    PREFILL,
    CalibrationStoreConformance,
    timing,
)

TRUE_MS = 10.0
USUAL = BETWEEN_RUNS["decode"]


def quiet(count: int, milliseconds: float = TRUE_MS) -> list[ReferenceTiming]:
    return [timing(milliseconds, 0.005)] * count


def known(low: float = 9.5, milliseconds: float = 10.0, high: float = 10.5) -> Calibration:
    interval = Interval(low=low, high=high)
    return Calibration(key=DECODE, milliseconds=milliseconds, interval=interval, timings=())


class TestInMemory(CalibrationStoreConformance):
    @pytest.fixture
    def calibrations(self):
        return CalibrationsInMemory()


class TestEstimate:
    def test_one_timing_is_the_estimate_with_both_errors(self):
        found = calibrate(DECODE, [timing(TRUE_MS, 0.03)])
        assert found.milliseconds == pytest.approx(TRUE_MS)
        assert found.interval.half_width == pytest.approx(1.96 * math.hypot(0.03, BETWEEN_TIMES))
        assert found.error == pytest.approx(math.hypot(0.03, BETWEEN_TIMES))

    def test_timings_are_weighted_by_the_inverse_of_their_variance(self):
        """A timing with twice the standard deviation has a quarter of the weight.

        In logarithms, and with L for the distance between the two: the mean lies L/5 above the
        first. The two are further apart than their errors explain, so the standard error is that
        of the weighted scatter, which is sqrt((4 (L/5)^2 + (4L/5)^2) / 5) = 2L/5.
        """
        less_certain = timing(15.0, math.sqrt(3) * BETWEEN_TIMES)
        found = calibrate(DECODE, [timing(10.0), less_certain])
        assert found.milliseconds == pytest.approx(10.0 * 1.5 ** (1 / 5))
        assert found.error == pytest.approx(2 / 5 * math.log(1.5))
        assert found.interval.low == pytest.approx(found.milliseconds / 1.5 ** (1.96 * 2 / 5))
        assert found.interval.high == pytest.approx(found.milliseconds * 1.5 ** (1.96 * 2 / 5))

    @pytest.mark.parametrize("count", [1, 3, 20])
    def test_intervals_cover_the_true_time(self, count):
        generator = np.random.default_rng(count)
        covered = []
        for _ in range(2_000):
            errors = generator.uniform(0.002, 0.05, count)
            logs = generator.normal(0, np.hypot(errors, BETWEEN_TIMES))
            timings = [
                timing(TRUE_MS * math.exp(log), error)
                for log, error in zip(logs, errors, strict=True)
            ]
            interval = calibrate(DECODE, timings).interval
            covered.append(interval.low <= TRUE_MS <= interval.high)
        assert 0.94 <= np.mean(covered) <= 0.99

    def test_other_frequency_governors_do_not_count(self):
        slow = [timing(25.0, governor="powersave")] * 30
        fast = [timing(10.0, governor="performance")]
        mixed, alone = calibrate(DECODE, slow + fast), calibrate(DECODE, fast)
        assert (mixed.milliseconds, mixed.interval) == (alone.milliseconds, alone.interval)
        assert calibrate(DECODE, fast + slow).milliseconds == pytest.approx(25.0)

    def test_timings_under_another_frequency_governor_count_again_when_it_returns(self):
        slow = [timing(25.0, governor="powersave")] * 30
        mixed = calibrate(DECODE, [*slow, timing(10.0, governor="performance")])
        again = calibrate(DECODE, [*mixed.timings, timing(25.0, governor="powersave")])
        assert again.interval == calibrate(DECODE, [*slow, slow[0]]).interval

    def test_an_error_that_all_timings_share_does_not_shrink(self):
        """For two timings: half of each, so that the independent part has half the variance."""
        shared = 0.06
        two = calibrate(DECODE, [timing(TRUE_MS, shared)] * 2)
        assert two.error == pytest.approx(math.sqrt(BETWEEN_TIMES**2 / 2 + shared**2))
        many = calibrate(DECODE, [timing(TRUE_MS, shared)] * 100)
        assert many.error == pytest.approx(math.sqrt(BETWEEN_TIMES**2 / 100 + shared**2))

    def test_the_latest_hundred_timings_count(self):
        """So does a machine that became faster: the earlier times are forgotten."""
        found = calibrate(DECODE, quiet(50, 20.0) + quiet(99) + [timing(TRUE_MS, at=7.0)])
        assert found.milliseconds == pytest.approx(TRUE_MS)
        assert len(found.timings) == 100
        assert found.timings[-1].at == 7.0

    @pytest.mark.parametrize("place", [0, 10, 20])
    def test_a_timing_under_heavy_load_hardly_counts(self, place):
        timings = quiet(20)
        timings.insert(place, timing(2.6 * TRUE_MS, 0.5))
        found = calibrate(DECODE, timings)
        assert found.milliseconds == pytest.approx(TRUE_MS, rel=0.002)
        assert found.is_settled

    def test_an_unrecognised_outlier_unsettles_the_estimate(self):
        """Nothing shows which of the timings is wrong, so the interval reaches the others."""
        found = calibrate(DECODE, [*quiet(4), timing(2.6 * TRUE_MS, 0.005)])
        assert not found.is_settled
        assert found.interval.low < TRUE_MS

    @pytest.mark.parametrize("count", [1, 10, 100, 1000])
    def test_load_that_lasts_never_becomes_settled(self, count):
        assert not calibrate(DECODE, [timing(2.6 * TRUE_MS, 0.1)] * count).is_settled

    def test_one_quiet_timing_after_lasting_load_decides(self):
        loaded = [timing(2.6 * TRUE_MS, 0.5)] * 10
        found = calibrate(DECODE, [*loaded, *quiet(1)])
        assert found.milliseconds == pytest.approx(TRUE_MS, rel=0.1)
        assert found.interval.low < TRUE_MS < found.interval.high

    @given(
        st.lists(
            st.builds(timing, st.floats(0.01, 1e4), st.floats(0, 0.5)), min_size=1, max_size=20
        ),
        st.randoms(use_true_random=False),
    )
    def test_the_estimate_lies_between_its_timings_in_whatever_order(self, timings, random):
        found = calibrate(DECODE, timings)
        times = [each.milliseconds for each in timings]
        assert min(times) <= found.milliseconds * (1 + 1e-9)
        assert found.milliseconds <= max(times) * (1 + 1e-9)
        assert found.interval.low < found.milliseconds < found.interval.high
        # Other load that lasts shifts all timings alike.
        assert found.error >= min(each.error for each in timings) * (1 - 1e-9)
        shuffled = list(timings)
        random.shuffle(shuffled)
        again = calibrate(DECODE, shuffled)
        assert again.milliseconds == pytest.approx(found.milliseconds)
        assert again.error == pytest.approx(found.error)

    @given(
        st.lists(st.floats(0.1, 100), min_size=1, max_size=20),
        st.floats(1e-3, 1e3),
    )
    def test_the_estimate_scales_with_the_unit(self, times, factor):
        found = calibrate(DECODE, [timing(each, 0.01) for each in times])
        scaled = calibrate(DECODE, [timing(factor * each, 0.01) for each in times])
        assert scaled.milliseconds == pytest.approx(factor * found.milliseconds)
        assert scaled.interval.half_width == pytest.approx(found.interval.half_width)

    def test_it_is_settled_up_to_a_tenth(self):
        for times, is_settled in ((0.99, True), (1.01, False)):
            reach = math.exp(times * WIDEST_SETTLED)
            assert known(low=10 / reach, high=10 * reach).is_settled == is_settled


class TestConvert:
    def test_the_value_is_the_product(self):
        assert known().convert(0.3, None, None) == (pytest.approx(3.0), None, None)

    def test_independent_errors_add_in_squares_on_each_side(self):
        calibration = known(low=10 * math.exp(-0.04), high=10 * math.exp(0.12))
        value, low, high = calibration.convert(2.0, 2 * math.exp(-0.03), 2 * math.exp(0.05))
        assert value == pytest.approx(20.0)
        assert low == pytest.approx(20 * math.exp(-0.05))
        assert high == pytest.approx(20 * math.exp(0.13))

    def test_the_interval_is_that_of_a_product_of_random_factors(self):
        generator = np.random.default_rng(0)
        ratios = 1.7 * np.exp(generator.normal(0, 0.02, 200_000))
        times = TRUE_MS * np.exp(generator.normal(0, 0.03, 200_000))
        calibration = known(*_bounds(times, TRUE_MS))
        low, value, high = _bounds(ratios, 1.7)
        found = calibration.convert(value, low, high)
        simulated = _bounds(ratios * times, 17.0)
        assert found[1] == pytest.approx(simulated[0], rel=1e-3)
        assert found[2] == pytest.approx(simulated[2], rel=1e-3)


def _bounds(values: np.ndarray, centre: float) -> tuple[float, float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), centre, float(high)


class TestBetweenRuns:
    """The scatter between runs that a device's own repeats show."""

    @pytest.mark.parametrize("key", [DECODE, PREFILL])
    def test_it_starts_with_that_of_other_machines(self, key):
        usual = BETWEEN_RUNS["decode" if key == DECODE else "prefill"]
        assert replace(known(), key=key).between_runs == pytest.approx(usual)

    def test_ten_repeats_count_as_much_as_the_beginning(self):
        deviation = 3 * USUAL
        learned = replace(known(), repeats=10, variance=10 * deviation**2)
        assert learned.between_runs == pytest.approx(math.sqrt(5) * USUAL)

    @pytest.mark.parametrize("deviation", [0.6 * USUAL, 5 * USUAL])
    def test_many_repeats_show_the_true_scatter(self, deviation):
        generator = np.random.default_rng(1)
        calibrations = CalibrationsInMemory()
        calibrations.add_timings({DECODE: timing(TRUE_MS)})
        for first, second in generator.normal(0, deviation, (2_000, 2)):
            calibrations.add_repeat(DECODE, (first - second) ** 2 / 2)
        found = calibrations.calibration(DECODE).between_runs
        assert found == pytest.approx(deviation, rel=0.05)

    @pytest.mark.parametrize("variance", [0.0, -1.0])
    def test_repeats_that_agree_by_chance_leave_half_of_it(self, variance):
        agreeing = replace(known(), repeats=1_000, variance=variance)
        assert agreeing.between_runs == pytest.approx(USUAL / 2)


class TestSlowdown:
    """The time that the reference model took beyond what is normal."""

    def test_what_quiet_moments_explain_is_no_slowdown(self):
        calibration = calibrate(DECODE, quiet(20))
        longest = TRUE_MS * math.exp(1.96 * math.hypot(calibration.error, BETWEEN_TIMES))
        for milliseconds in (TRUE_MS / 2, TRUE_MS, 0.999 * longest):
            assert calibration.slowdown(milliseconds) == 0
        assert calibration.slowdown(1.3 * longest) == pytest.approx(math.log(1.3))

    def test_quiet_times_are_rarely_slow(self):
        """One in forty is above the upper bound of a 95 % interval."""
        generator = np.random.default_rng(2)
        calibration = calibrate(DECODE, quiet(100))
        times = TRUE_MS * np.exp(generator.normal(0, BETWEEN_TIMES, 4_000))
        slow = np.mean([calibration.slowdown(each) > 0 for each in times])
        assert slow == pytest.approx(0.025, abs=0.01)

    def test_nothing_is_known_while_the_calibration_is_not_settled(self):
        assert calibrate(DECODE, [timing(TRUE_MS, 0.5)]).slowdown(100 * TRUE_MS) == 0


class TestNoticeableDifference:
    @pytest.mark.parametrize("name", ["low", "milliseconds", "high"])
    @pytest.mark.parametrize(("factor", "noticeable"), [(1.004, False), (1.006, True)])
    def test_half_a_percent_of_the_time_or_of_a_bound_is_noticeable(self, name, factor, noticeable):
        values = {"low": 9.0, "milliseconds": 10.0, "high": 11.0}
        earlier = known(**values)
        for changed in (factor, 1 / factor):
            now = known(**values | {name: changed * values[name]})
            assert now.differs_noticeably(earlier) == noticeable
            assert earlier.differs_noticeably(now) == noticeable
