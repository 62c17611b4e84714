"""The tables of scores and runners: complete, and consistent with what the program supports."""

from typing import get_args

import pytest

from evaluators.scores import (
    SCORES,
    ScoreKind,
    definition_of,
    device_of,
    device_of_stage,
    is_additive,
    is_measured,
    is_predictable,
    is_size,
    is_timed,
    is_trained,
    make_score,
    measured_names,
    score_names,
)
from evaluators.speed.runners import RUNNERS, RunnerKind
from hardware.fake import FakeRunner
from hardware.local import LocalRunner
from search_space.llama_cpp.gguf_file import GgufQuantization
from search_space.onnx_graph import GraphQuantization


def test_every_kind_of_score_is_used():
    assert {definition.kind for definition in SCORES.values()} == set(get_args(ScoreKind))


def test_only_times_are_timed_and_only_qualities_are_trained():
    assert [name for name in SCORES if is_timed(name)] == [
        "decode",
        "prefill",
        "decode_p95",
        "prefill_p95",
        "decode_per_byte",
        "prefill_per_byte",
    ]
    assert [name for name in SCORES if is_trained(name)] == [
        "loss",
        "lookup_loss",
        "other_loss",
        "late_loss",
        "task",
        "recall_error",
    ]


def test_a_deeper_decode_is_a_time_at_that_depth():
    definition = definition_of("decode@4096")
    assert definition is not None
    assert (definition.kind, definition.depth, definition.unit) == ("time", 4096, "ms/token")
    assert is_additive("decode@4096")


@pytest.mark.parametrize(
    "name", ["decode_energy", "prefill@12", "decode@", "decode@X", "loss@phone", "decode@a@b", ""]
)
def test_an_unknown_name_has_no_definition_and_is_not_a_time(name):
    assert definition_of(name) is None
    assert not is_timed(name)
    assert not is_trained(name)


def test_every_runner_is_in_the_table_with_what_its_format_can_hold():
    assert tuple(RUNNERS) == get_args(RunnerKind)
    assert RUNNERS["local"].quantizations == get_args(GraphQuantization)
    assert RUNNERS["llama.cpp"].quantizations == get_args(GgufQuantization)
    assert RUNNERS["local"].model_format == LocalRunner().model_format
    assert RUNNERS["fake"].model_format == FakeRunner().model_format


@pytest.mark.parametrize(
    ("name", "plain", "device", "kind", "workload", "depth"),
    [
        ("decode@phone", "decode", "phone", "time", "decode@phone", None),
        ("prefill_p95@pi-5_b", "prefill_p95", "pi-5_b", "time", "prefill@pi-5_b", None),
        ("decode@4096@phone", "decode@4096", "phone", "time", "decode@4096@phone", 4096),
        ("decode_per_byte@phone", "decode_per_byte", "phone", "time", "decode@phone", None),
        ("memory@phone", "memory", "phone", "memory", None, None),
        ("decode_memory@phone", "decode_memory", "phone", "memory", "decode@phone", None),
        ("size@phone", "size", "phone", "size", None, None),
        ("decode@4096", "decode@4096", None, "time", "decode@4096", 4096),
        ("loss", "loss", None, "quality", None, None),
    ],
)
def test_a_name_gives_the_score_and_the_device(name, plain, device, kind, workload, depth):
    definition = definition_of(name)
    assert definition is not None
    assert (definition.name, definition.on_any_device) == (name, plain)
    assert (definition.device, device_of(name)) == (device, device)
    assert (definition.kind, definition.workload, definition.depth) == (kind, workload, depth)
    undecorated = definition_of(plain)
    assert undecorated is not None
    assert definition.unit == undecorated.unit
    assert is_additive(name) == is_additive(plain)
    assert is_measured(name) == (kind in ("time", "memory"))
    assert is_size(name) == (kind == "size")
    assert is_predictable(name) == is_predictable(plain)
    assert (device is None) or definition.meaning.endswith(f", on {device}")


@pytest.mark.parametrize(
    "name",
    [
        *("parameters@phone", "task@phone", "recall_error@phone"),  # nothing is measured there
        *("decode@Phone", "decode@5", "decode@5x@phone", "decode@-a", "decode@phone@", "@phone"),
        *(f"decode@{33 * 'a'}", "decode@phone\n", "decode@phone@4096", "decode_energy@phone"),
    ],
)
def test_what_is_no_name_on_a_device_has_no_definition(name):
    known = definition_of(name)
    assert known is None or known.device is None
    assert name == "decode@5" or known is None
    assert device_of(name) is None


def test_a_study_may_ask_for_every_measured_score_of_its_devices():
    names = score_names((64,), ("one", "two"))
    assert len(set(names)) == len(names)
    assert {definition_of(name).name for name in names} == set(names)
    on_one = {name.removesuffix("@one") for name in names if device_of(name) == "one"}
    assert on_one == {*measured_names((64,)), "decode_per_byte", "prefill_per_byte"}
    assert {device_of(name) for name in names} == {None, "one", "two"}
    assert [name for name in score_names((64,)) if device_of(name)] == []


def test_a_score_on_a_device_has_the_unit_of_the_score():
    assert make_score("prefill@phone", 3.0).unit == "ms"
    assert make_score("memory@phone", 3.0).unit == "MB"


def test_a_stage_names_the_device_that_it_measures_on():
    assert device_of_stage("latency@phone") == "phone"
    assert device_of_stage("latency") is None
