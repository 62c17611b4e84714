"""What a device may send instead of an answer."""

import json
import re
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.environment import CpuCounters, Environment
from hardware.quiet import Reservation
from hardware.remote.answers import read_answer, read_window
from hardware.remote.device_state import DeviceState, ThermalZone
from hardware.remote.identity import CoreCluster, DeviceIdentity
from hardware.runner import DeviceSnapshot, Loading, Window
from tests.hardware.remote.any_json import any_json

WINDOW = {"samples_ns": [10, 20], "waited_ns": [0, 20], "peak_memory_bytes": 1}
STATE = {
    "zones": [{"name": "cpu", "celsius": -3.5}],
    "clocks_mhz": [1500],
    "free_memory_bytes": None,
    "free_disk_bytes": 7,
    "packages": {"numpy": "2.0.0", "onnxruntime": None},
}
ENVIRONMENT = Environment(
    host="board",
    system="Linux",
    cpu="cpu",
    cores=1,
    memory_bytes=1,
    python="3.12.1",
    runtime_version="ort",
    governor=None,
    clock_mhz=1500.0,
    temperature_c=40.5,
    load_1min=None,
)
VALUES = [
    DeviceState(
        zones=(ThermalZone(name="cpu", celsius=-3.5),),
        clocks_mhz=(1500.0,),
        free_memory_bytes=None,
        free_disk_bytes=7,
        packages={"numpy": "2.0.0", "onnxruntime": None},
    ),
    DeviceIdentity(
        id="0123456789abcdef",
        model=None,
        host="board",
        system="Linux",
        boot=None,
        clusters=(CoreCluster(cores=(0, 1), capacity=None, max_mhz=1500.0),),
    ),
    Loading(
        runtime="ort",
        threads=1,
        cores=(0,),
        load_ns=1,
        model_bytes=1,
        empty_memory_bytes=1,
        loaded_memory_bytes=1,
    ),
    Reservation(waited_s=0.5, obstacle=None),
    DeviceSnapshot(environment=ENVIRONMENT, counters=None),
    Window(samples_ns=(1, 2), waited_ns=None, peak_memory_bytes=1),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_arrives_as_it_was_sent(value):
    assert read_answer(type(value), json.loads(json.dumps(asdict(value)))) == value


def test_unknown_fields_are_left_out():
    assert read_answer(Reservation, {"waited_s": 1.0, "more": 3}) == Reservation(waited_s=1.0)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"samples_ns": None}, "samples_ns"),
        ({"samples_ns": 10}, "samples_ns"),
        ({"samples_ns": ["10", "20"]}, "samples_ns.0"),
        ({"samples_ns": [True, 20]}, "samples_ns.0"),
        ({"samples_ns": [10.5, 20]}, "samples_ns.0"),
        ({"samples_ns": [10, float("nan")]}, "samples_ns.1"),
        ({"samples_ns": [10, float("inf")]}, "samples_ns.1"),
        ({"samples_ns": [10, -20]}, ""),
        ({"samples_ns": [10, 0]}, "samples_ns"),
        ({"samples_ns": [10]}, "samples_ns"),
        ({"samples_ns": [10, 20, 30]}, "samples_ns"),
        ({"samples_ns": []}, "samples_ns"),
        ({"samples_ns": [10, 1000]}, "samples_ns"),  # longer than the request took
        ({"samples_ns": [10, 10**18]}, "samples_ns"),
        ({"samples_ns": [10, 10**400]}, ""),
        ({"samples_ns": [10, [20]]}, "samples_ns.1"),
        ({"samples_ns": {"0": 10, "1": 20}}, "samples_ns"),
        ({"waited_ns": [0]}, "waited_ns"),
        ({"waited_ns": [0, 21]}, "waited_ns"),
        ({"waited_ns": [0, -1]}, ""),
        ({"waited_ns": [None, None]}, "waited_ns"),
        ({"peak_memory_bytes": -1}, ""),
        ({"peak_memory_bytes": 1e300}, ""),
        ({"peak_memory_bytes": 1.5}, "peak_memory_bytes"),
        ({"peak_memory_bytes": False}, "peak_memory_bytes"),
        ({"peak_memory_bytes": None}, "peak_memory_bytes"),
    ],
)
def test_a_window_that_no_clock_can_have_measured_is_refused(changed, field):
    window: dict[str, Any] = {**WINDOW, **changed}
    with pytest.raises(ValueError, match=rf"^{re.escape(field)}") as caught:
        read_window(window, 2, longest_ns=100.0)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("field", WINDOW)
def test_a_missing_field_is_named(field):
    window = {name: value for name, value in WINDOW.items() if name != field}
    with pytest.raises(ValueError, match=rf"^{field}: Field required"):
        read_window(window, 2, longest_ns=100.0)


def test_a_possible_window_is_read():
    assert read_window(WINDOW, 2, longest_ns=30.0).samples_ns == (10, 20)
    assert read_window({**WINDOW, "waited_ns": None}, 2, longest_ns=30.0).waited_ns is None


@pytest.mark.parametrize("answer", [None, [], "x", 3, True, [[WINDOW]]])
def test_what_is_no_object_is_refused(answer):
    with pytest.raises(ValueError, match=r"Window|waited_ns|samples_ns"):
        read_answer(Window, answer)


def test_deep_nesting_is_refused():
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        read_answer(DeviceState, {**STATE, "zones": deep})


@pytest.mark.parametrize("celsius", [float("nan"), float("inf"), -float("inf"), 1e30, "40", True])
def test_an_odd_temperature_is_refused(celsius):
    with pytest.raises(ValueError, match=r"zones.0|a number is absurdly large or not finite"):
        read_answer(DeviceState, {**STATE, "zones": [{"name": "cpu", "celsius": celsius}]})


def test_texts_are_printable_and_short_wherever_they_are():
    odd = "\x1b[2J\u202e\x07\n" + "x" * 10_000
    state = read_answer(
        DeviceState,
        {**STATE, "zones": [{"name": odd, "celsius": 3.0}], "packages": {odd: odd}},
    )
    ((package, version),) = state.packages.items()
    for text in (state.zones[0].name, package, str(version)):
        assert text.isprintable()
        assert len(text) == 500


@pytest.mark.parametrize(
    "name", ["", "0123456789ABCDEF", "../../../../x", "0" * 17, "0" * 15 + "\n"]
)
def test_an_identity_that_no_agent_computes_is_refused(name):
    identity = {**asdict(VALUES[1]), "id": name}  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="16 hexadecimal digits"):
        read_answer(DeviceIdentity, json.loads(json.dumps(identity)))


def test_counters_are_read():
    counters = {"at_ns": 5, "own_s": 0.5, "busy_s": [1.0, 2], "steal_s": [0.0, 0.0]}
    read = read_answer(CpuCounters, counters)
    assert read.busy_s == (1.0, 2.0)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(WINDOW, any_json)) | any_json)
def test_whatever_is_sent_a_window_is_possible_or_refused(answer):
    try:
        window = read_window(answer, 2, longest_ns=1e6)
    except ValueError:
        return
    assert len(window.samples_ns) == 2
    assert all(type(sample) is int and 0 < sample <= 10**6 for sample in window.samples_ns)
    assert type(window.peak_memory_bytes) is int
    assert 0 <= window.peak_memory_bytes < 1 << 63


@given(st.sampled_from([type(value) for value in VALUES]), st.data())
def test_whatever_replaces_a_field_the_value_can_be_stored_or_is_refused(kind, data):
    """What is stored is written as JSON and must not contain anything that is no number."""
    sent = next(asdict(value) for value in VALUES if type(value) is kind)
    sent[data.draw(st.sampled_from(sorted(sent)))] = data.draw(any_json)
    try:
        value = read_answer(kind, sent)
    except ValueError:
        return
    json.dumps(asdict(value), allow_nan=False).encode()
