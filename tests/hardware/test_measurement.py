import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.environment import read_environment
from hardware.measurement import (
    Measurement,
    Workload,
    median_interval_ms,
    parse_workload,
    quantile_ms,
    undisturbed_ms,
)

MEASUREMENT = Measurement(
    workload=Workload(phase="decode", tokens=1),
    runtime="test",
    threads=1,
    cores=(0,),
    samples_ns=(1,),
    warmup_ns=(),
    load_ns=1,
    peak_memory_bytes=1,
    environment=read_environment("test"),
)


def measured_ms(*samples_ms: float) -> Measurement:
    return replace(MEASUREMENT, samples_ns=tuple(round(1e6 * sample) for sample in samples_ms))


workloads = st.builds(
    Workload,
    phase=st.sampled_from(["prefill", "decode"]),
    tokens=st.integers(1, 9_999_999),
    depth=st.integers(0, 9_999_999),
)


class TestWorkload:
    @given(workload=workloads)
    def test_its_name_is_read_back(self, workload):
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
    def test_anything_else_is_a_mistake(self, text):
        with pytest.raises(ValueError, match=rf"^workload: '{text}' is not ppN \(prefill\), tgN"):
            parse_workload(text)

    @given(text=st.text(max_size=12))
    def test_whatever_is_read_has_a_name(self, text):
        try:
            workload = parse_workload(text)
        except ValueError:
            return
        assert parse_workload(str(workload)) == workload

    @pytest.mark.parametrize(("field", "value"), [("tokens", 0), ("tokens", 10**7), ("depth", -1)])
    def test_numbers_have_bounds(self, field, value):
        with pytest.raises(ValueError, match=rf"^{field}: {value} is not between "):
            replace(Workload(phase="decode", tokens=1), **{field: value})


def test_no_sample_is_no_measurement():
    with pytest.raises(ValueError, match=r"^samples_ns: tg1 has no sample$"):
        measured_ms()


def test_quantiles_are_of_the_samples_in_ms():
    measurement = measured_ms(4, 1, 3, 2, 5)
    assert [quantile_ms(measurement, share) for share in (0.0, 0.25, 0.5, 1.0)] == [1, 2, 3, 5]
    assert quantile_ms(measured_ms(1, 2), 0.5) == 1.5


def test_a_bad_moment_does_not_reach_the_undisturbed_time():
    calm, burst = [1.0, 1.0, 1.0, 2.0], [9.0, 9.0, 9.0, 90.0]
    measurement = replace(measured_ms(*calm, *burst, *calm, *burst), window=4)
    assert undisturbed_ms(measurement, 0.5) == 1.0
    assert undisturbed_ms(measurement, 1.0) == 2.0
    assert quantile_ms(measurement, 0.5) > 1.0


class TestMedianInterval:
    @pytest.mark.parametrize("count", [6, 7, 20, 64, 500, 1_074, 1_075, 2_000])
    def test_it_is_the_narrowest_pair_of_samples_that_holds_in_95_percent(self, count):
        # Of the samples 1 to n its ends tell which they are; P(Binomial(n, 1/2) < k) is exact.
        interval = median_interval_ms(measured_ms(*range(1, count + 1)))
        k = round(interval.low)
        assert interval.low + interval.high == count + 1
        missed = [2 * sum(math.comb(count, below) for below in range(end)) for end in (k, k + 1)]
        assert 20 * missed[0] <= 2**count < 20 * missed[1]

    @pytest.mark.parametrize("count", [1, 5])
    def test_few_samples_bound_nothing(self, count):
        assert median_interval_ms(measured_ms(*range(1, count + 1))) is None

    @pytest.mark.parametrize("count", [6, 15, 64])
    def test_it_covers_the_median_of_skewed_times(self, count):
        generator = np.random.default_rng(0)
        rounds = 1000
        covered = 0
        for _ in range(rounds):
            # As latencies are: a floor and a long tail; the median is 10 + ln 2.
            interval = median_interval_ms(measured_ms(*(10 + generator.exponential(size=count))))
            covered += interval.low <= 10 + math.log(2) <= interval.high
        # At least 95 % are promised; the standard error of a thousand rounds is 0.7 %.
        assert 0.93 <= covered / rounds <= 0.99

    @given(samples=st.lists(st.integers(1, 10**12), min_size=6, max_size=50))
    def test_it_holds_the_median_and_order_does_not_matter(self, samples):
        measurement = replace(MEASUREMENT, samples_ns=tuple(samples))
        interval = median_interval_ms(measurement)
        assert interval.low <= quantile_ms(measurement, 0.5) <= interval.high
        assert median_interval_ms(replace(measurement, samples_ns=tuple(sorted(samples)))) == (
            interval
        )
