"""Estimates from windows that are given."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.measurement import Interval
from hardware.window_statistics import Ratio, interval_ms, ratio
from tests.hardware.measurements import measured

samples_ns = st.integers(10**6, 10**9)
windows = st.tuples(*[samples_ns] * 4)
pairs = st.lists(
    st.tuples(windows, windows),
    min_size=3,
    max_size=20,
)


class TestRatio:
    @given(pairs=pairs, quantile=st.sampled_from([0.5, 0.95]))
    def test_swapping_the_models_inverts_it(self, pairs, quantile):
        ours, theirs = zip(*pairs, strict=True)
        one = ratio(measured(ours, measured(theirs)), quantile)
        other = ratio(measured(theirs, measured(ours)), quantile)
        assert one.low <= one.value <= one.high
        assert (one.value, one.low, one.high) == pytest.approx(
            (1 / other.value, 1 / other.high, 1 / other.low)
        )

    @given(pairs=pairs, quantile=st.sampled_from([0.5, 0.95]), factor=st.integers(1, 10))
    def test_it_is_proportional_to_the_time_of_the_model(self, pairs, quantile, factor):
        ours, theirs = zip(*pairs, strict=True)
        slower = [[factor * sample for sample in window] for window in ours]
        one = ratio(measured(ours, measured(theirs)), quantile)
        other = ratio(measured(slower, measured(theirs)), quantile)
        assert (other.value, other.low, other.high) == pytest.approx(
            (factor * one.value, factor * one.low, factor * one.high)
        )

    def test_it_compares_quantiles_of_windows(self):
        # Nineteen fast tokens and two slow ones: the 95 % quantile is a slow one.
        ours = measured([[10e6] * 19 + [30e6, 30e6]] * 3, measured([[5e6] * 7] * 3))
        assert ratio(ours).value == pytest.approx(2)
        assert ratio(ours, 0.95).value == pytest.approx(6)

    def test_one_disturbed_window_does_not_change_it(self):
        ours = [[20e6 + 1e4 * window] for window in range(15)]
        quiet = ratio(measured(ours, measured([[10e6]] * 15)))
        disturbed = ratio(measured([[9e9], *ours[1:]], measured([[10e6]] * 15)))
        assert disturbed.value == pytest.approx(quiet.value, rel=1e-3)

    @pytest.mark.parametrize("count", [1, 2])
    def test_too_few_windows_give_no_interval(self, count):
        known = ratio(measured([[4e6]] * count, measured([[2e6]] * count)))
        assert (known.value, known.low, known.high) == (pytest.approx(2), None, None)

    def test_three_windows_have_students_interval(self):
        # Logarithms -0.1, 0 and 0.1: the standard error is 0.1 / sqrt(3), and t is 4.303.
        ours = [[1e9 * math.exp(log)] for log in (-0.1, 0.0, 0.1)]
        known = ratio(measured(ours, measured([[1e9]] * 3)))
        assert math.log(known.high) == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-4)
        assert math.log(known.low) == pytest.approx(-math.log(known.high))

    def test_the_interval_of_six_windows_is_their_range(self):
        # The order has no correlation between neighbours.
        ours = [[1e9 * math.exp(log)] for log in (0.3, -0.1, 0.7, 0.0, 0.2, 0.1)]
        known = ratio(measured(ours, measured([[1e9]] * 6)))
        assert (math.log(known.low), math.log(known.high)) == pytest.approx((-0.1, 0.7))

    def test_correlated_windows_give_a_wider_interval(self):
        logs = np.random.default_rng(0).normal(0, 0.1, 30)
        widths = []
        for order in (logs, np.sort(logs)):
            ours = [[1e9 * math.exp(log)] for log in order]
            known = ratio(measured(ours, measured([[1e9]] * 30)))
            widths.append(math.log(known.high / known.low))
        assert widths[1] > 2 * widths[0]

    def test_it_requires_a_reference(self):
        with pytest.raises(
            ValueError, match=r"^reference: tg64@1024 was measured without a reference model$"
        ):
            ratio(measured([[1e6]]))


class TestInterval:
    def test_windows_of_several_measurements_are_combined(self):
        # Logarithms -0.1, 0 and 0.1: the standard error is 0.1 / sqrt(3), and t is 4.303.
        one, other = [[1e9 * math.exp(-0.1)], [1e9]], [[1e9 * math.exp(0.1)]]
        known = interval_ms([measured(one), measured(other)])
        assert math.log(known.high / 1e3) == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-4)
        assert known.low * known.high == pytest.approx(1e6)

    def test_too_few_windows_give_no_interval(self):
        assert interval_ms([measured([[4e6]] * 2)]) is None


class TestErrors:
    def test_they_are_infinite_without_an_interval(self):
        known = Ratio(value=2.0, low=None, high=None)
        assert known.interval is None
        assert known.half_width == known.log_error == math.inf

    def test_they_are_those_of_the_interval(self):
        # 1.96 standard errors of 0.1 to either side, on a log scale.
        reach = math.exp(0.196)
        known = Ratio(value=2.0, low=2.0 / reach, high=2.0 * reach)
        assert known.interval == Interval(low=2.0 / reach, high=2.0 * reach)
        assert known.half_width == pytest.approx(0.196)
        assert known.log_error == pytest.approx(0.1)
