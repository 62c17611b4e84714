import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hardware.measurement import (
    Interval,
    Measurement,
    Workload,
    parse_workload,
    quantile_ms,
    running_ns,
    warm,
    window_quantiles_ns,
)
from tests.hardware.measurements import measured

workloads = st.builds(
    Workload,
    phase=st.sampled_from(["prefill", "decode"]),
    tokens=st.integers(1, 9_999_999),
    depth=st.integers(0, 9_999_999),
)


class TestWorkload:
    @given(workload=workloads)
    def test_its_name_can_be_parsed(self, workload):
        assert parse_workload(str(workload)) == workload

    @pytest.mark.parametrize(
        ("text", "workload"),
        [
            ("pp512", Workload(phase="prefill", tokens=512)),
            ("tg128@1024", Workload(phase="decode", tokens=128, depth=1024)),
            ("pp1@0", Workload(phase="prefill", tokens=1)),
        ],
    )
    def test_names_are_llama_benchs(self, text, workload):
        assert parse_workload(text) == workload

    @pytest.mark.parametrize(
        "text",
        ["", "512", "pp", "pp0", "pp-1", "tg1.5", "tg 12", "PP512", "pp512@", "xx5", "pp12345678"],
    )
    def test_anything_else_is_an_error(self, text):
        with pytest.raises(ValueError, match=rf"^workload: '{text}' is not ppN \(prefill\) or tgN"):
            parse_workload(text)

    @given(text=st.text(max_size=12))
    def test_every_parsed_workload_has_a_name(self, text):
        try:
            workload = parse_workload(text)
        except ValueError:
            return
        assert parse_workload(str(workload)) == workload

    @pytest.mark.parametrize(("field", "value"), [("tokens", 0), ("tokens", 10**7), ("depth", -1)])
    def test_numbers_have_bounds(self, field, value):
        with pytest.raises(ValueError, match=rf"^{field}: {value} is not between "):
            replace(Workload(phase="decode", tokens=1), **{field: value})


def measured_ms(*windows: list[float], waited_ms: list[float] | None = None) -> Measurement:
    """Return a measurement with these samples, and the time that each of them waited, in ms."""
    waited_ns = None if waited_ms is None else tuple(round(1e6 * waited) for waited in waited_ms)
    in_ns = [[1e6 * sample for sample in window] for window in windows]
    return measured(in_ns, waited_ns=waited_ns)


class TestMeasurement:
    def test_it_requires_a_sample(self):
        with pytest.raises(ValueError, match=r"^samples_ns: tg64@1024 has no sample$"):
            measured_ms([])

    def test_it_requires_the_waiting_time_of_every_sample(self):
        message = r"^waited_ns: 2 values do not belong to 3 samples$"
        with pytest.raises(ValueError, match=message):
            measured_ms([1, 2, 3], waited_ms=[0, 0])

    def test_the_waiting_share_is_a_fraction_of_the_wall_time(self):
        assert measured_ms([1, 2, 5], waited_ms=[0, 0, 2]).waiting_share == pytest.approx(2 / 8)
        assert measured_ms([1, 2], waited_ms=[0, 0]).waiting_share == 0

    def test_the_disturbed_share_is_the_fraction_of_samples_that_waited(self):
        # Up to 20 us or 0.5 % of a sample do not count.
        samples_ms, waited_ms = [1, 1, 1, 100, 100], [0, 0.019, 0.021, 0.49, 0.51]
        measurement = measured_ms(samples_ms, waited_ms=waited_ms)
        assert measurement.disturbed_share == pytest.approx(2 / 5)

    def test_shares_are_unknown_without_a_clock_for_waiting(self):
        measurement = measured_ms([1, 2])
        assert measurement.waiting_share is None
        assert measurement.disturbed_share is None


class TestRunningTime:
    def test_it_is_the_time_without_waiting(self):
        assert running_ns((5, 7), (2, 0)).tolist() == [3, 7]
        assert running_ns((5, 7), None).tolist() == [5, 7]

    def test_it_is_never_zero_so_that_it_has_a_logarithm(self):
        assert running_ns((5, 7), (5, 0)).tolist() == [1, 7]

    @given(
        samples=arrays.arrays(
            np.float64,
            arrays.array_shapes(max_dims=3, max_side=9),
            elements=st.floats(1, 1e9),
        )
    )
    def test_warm_samples_are_the_second_half_of_each_window(self, samples):
        found = warm(samples)
        assert found.shape[:-1] == samples.shape[:-1]
        assert samples.shape[-1] <= 2 * found.shape[-1] <= samples.shape[-1] + 1
        rows = samples.reshape(-1, samples.shape[-1])
        for row, kept in zip(rows, found.reshape(-1, found.shape[-1]), strict=True):
            assert row.tolist()[-len(kept) :] == kept.tolist()


class TestInterval:
    def test_a_normal_error_is_within_it_in_95_percent_of_cases(self):
        interval = Interval(low=3.0, high=4.0)
        assert interval.half_width == pytest.approx(math.log(4 / 3) / 2)
        within = math.erf(interval.half_width / interval.log_error / math.sqrt(2))
        assert within == pytest.approx(0.95, abs=1e-4)


class TestQuantiles:
    def test_without_windows_all_samples_count(self):
        measurement = replace(measured_ms([4, 1, 3, 2, 5]), window=None)
        assert [quantile_ms(measurement, quantile) for quantile in (0.0, 0.25, 0.5, 1.0)] == [
            1,
            2,
            3,
            5,
        ]
        assert quantile_ms(replace(measured_ms([1, 2]), window=None), 0.5) == 1.5
        assert window_quantiles_ns(measurement, 0.5).tolist() == [4e6, 1e6, 3e6, 2e6, 5e6]

    def test_only_the_second_half_of_each_window_counts(self):
        measurement = measured_ms([90, 80, 1, 2], [70, 60, 5, 9])
        assert window_quantiles_ns(measurement, 0.5).tolist() == [1.5e6, 7e6]
        assert window_quantiles_ns(measurement, 1.0).tolist() == [2e6, 9e6]
        assert quantile_ms(measurement, 0.5) == 3.5
        assert quantile_ms(measurement, 1.0) == 9

    def test_waiting_does_not_count(self):
        measurement = measured_ms([9, 9, 3, 4], [9, 9, 8, 7], waited_ms=[0, 0, 1, 1, 0, 0, 6, 5])
        assert window_quantiles_ns(measurement, 0.5).tolist() == [2.5e6, 2e6]
        assert quantile_ms(measurement, 0.5) == 2
