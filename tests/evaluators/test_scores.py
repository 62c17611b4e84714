"""The tables of scores and runners: complete, and consistent with what the program supports."""

from typing import get_args

import pytest

from evaluators.scores import SCORES, ScoreKind, definition_of, is_additive, is_timed, is_trained
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
