"""The parts of a model's work, compared with the closed-form costs of the whole model."""

import pytest

from evaluators.scores import is_additive
from evaluators.speed.workload_parts import Deployment, parts_of
from search_space.architecture import MIXERS, Architecture
from search_space.costs import decode_flops, prefill_flops, weight_bytes
from search_space.preset_models import PRESETS
from tests.search_space.strategies import CORNERS

MODELS = {**CORNERS, **PRESETS}
SINGLE = Deployment(quantization="fp32", prompt_length=24, context_depth=40)


def _matrix_bytes(parts) -> float:
    return parts["matrices"] + parts["vocabulary"]


def _mixing(parts) -> float:
    return sum(parts[f"{letter} mixing"] for letter in MIXERS if letter != "-")


@pytest.mark.parametrize("name", MODELS)
class TestParts:
    def test_a_token_costs_one_multiply_add_per_element_and_the_mixing(self, name: str) -> None:
        parts = parts_of("decode", MODELS[name], SINGLE)
        assert 2 * _matrix_bytes(parts) / 4 + _mixing(parts) == decode_flops(MODELS[name], 40)

    def test_a_prompt_costs_as_much_for_each_token_except_for_the_head(self, name: str) -> None:
        model = MODELS[name]
        parts = parts_of("prefill", model, SINGLE)
        for_each = 24 * 2 * _matrix_bytes(parts) / 4 + _mixing(parts)
        head = 2 * model.vocab_size * model.embedding_width
        head += 2 * model.width * model.embedding_width * model.factorised
        assert for_each - 23 * head == prefill_flops(model, 24)

    def test_memory_includes_all_weights(self, name: str) -> None:
        parts = parts_of("memory", MODELS[name], SINGLE)
        assert parts["vocabulary"] + parts["layers"] == weight_bytes(MODELS[name], "fp32")

    def test_every_model_has_the_same_parts(self, name: str) -> None:
        for score in ("decode", "prefill", "memory"):
            other = parts_of(score, PRESETS["lfm2-350m"], SINGLE)
            assert list(parts_of(score, MODELS[name], SINGLE)) == list(other)


def _of_kind(model: Architecture, score: str, what: str) -> float:
    return parts_of(score, model, SINGLE)[what]


def test_a_window_limits_the_bytes_read_from_caches() -> None:
    windows, full = CORNERS["only windows"], CORNERS["only attention"]
    for score, reads_more in (("decode", False), ("decode@4000", True)):
        assert _of_kind(windows, score, "caches") == _of_kind(windows, "decode", "caches")
        more = _of_kind(full, score, "caches") > _of_kind(full, "decode", "caches")
        assert more == reads_more


def test_a_95th_percentile_has_the_same_parts_as_the_median() -> None:
    model = PRESETS["lfm2-350m"]
    for score in ("decode", "prefill", "decode@4000"):
        assert parts_of(f"{score}_p95", model, SINGLE) == parts_of(score, model, SINGLE)


def test_other_scores_are_not_additive() -> None:
    others = ("loss", "size", "parameters", "decode_per_byte", "decode_memory", "decode@")
    assert not any(map(is_additive, others))
