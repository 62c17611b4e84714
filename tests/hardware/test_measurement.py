from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.environment import read_environment
from hardware.measurement import (
    Measurement,
    Workload,
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


def test_a_measurement_requires_a_sample():
    with pytest.raises(ValueError, match=r"^samples_ns: tg1 has no sample$"):
        measured_ms()


def test_quantiles_are_of_the_samples_in_ms():
    measurement = measured_ms(4, 1, 3, 2, 5)
    assert [quantile_ms(measurement, quantile) for quantile in (0.0, 0.25, 0.5, 1.0)] == [
        1,
        2,
        3,
        5,
    ]
    assert quantile_ms(measured_ms(1, 2), 0.5) == 1.5


def test_a_burst_of_load_does_not_change_the_undisturbed_time():
    calm, burst = [1.0, 1.0, 1.0, 2.0], [9.0, 9.0, 9.0, 90.0]
    measurement = replace(measured_ms(*calm, *burst, *calm, *burst), window=4)
    assert undisturbed_ms(measurement, 0.5) == 1.0
    assert undisturbed_ms(measurement, 1.0) == 2.0
    assert quantile_ms(measurement, 0.5) > 1.0
