"""The losses on held-out text: which tokens each one is about, and in which context."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from evaluators.text.tokenizer import TokenIds
from evaluators.training.scoring import HeldOutLoss, follows_repeated_pair, held_out_loss
from search_space.torch_model import LanguageModel
from tests.search_space.strategies import ATTENTION, CONV, stack

TINY = stack(CONV, ATTENTION)
TOKEN_BYTES = 1 + np.arange(64) % 5
LENGTH = 16


def _ids(count: int, values: int = 64, seed: int = 0) -> TokenIds:
    return np.random.default_rng(seed).integers(values, size=count).astype(np.uint16)


def _unhindered() -> float:
    return 0.0


def _loss(model: torch.nn.Module, ids: TokenIds) -> HeldOutLoss:
    return held_out_loss(model, ids, TOKEN_BYTES, LENGTH, "cpu", _unhindered)


def _model() -> LanguageModel:
    model = LanguageModel(TINY)
    model.initialise(0)
    return model


@pytest.mark.parametrize("count", [2, 16, 17, 18, 33, 333])
def test_a_uniform_model_spends_the_logarithm_of_the_vocabulary(count: int) -> None:
    model = _model()
    torch.nn.init.zeros_(model.embedding.weight)
    ids = _ids(count)
    expected = math.log2(64) * (count - 1) / TOKEN_BYTES[ids[1:]].sum()
    assert _loss(model, ids).whole == pytest.approx(expected, rel=1e-6)


def test_no_window_sees_the_previous_one() -> None:
    model, ids = _model(), _ids(33)
    tokens = torch.from_numpy(ids.astype(np.int64))
    nats = sum(
        F.cross_entropy(model(tokens[None, a : a + 16])[0], tokens[a + 1 : a + 17], reduction="sum")
        for a in (0, 16)
    )
    assert isinstance(nats, torch.Tensor)
    expected = nats.item() / math.log(2) / TOKEN_BYTES[ids[1:]].sum()
    # Autocast uses bf16 if the processor supports it.
    assert _loss(model, ids).whole == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("seed", range(5))
def test_repeated_pairs_are_those_that_a_simple_loop_finds(seed: int) -> None:
    inputs_NT = _ids(20 * LENGTH, values=4, seed=seed).reshape(20, LENGTH).astype(np.int64)
    expected = np.zeros_like(inputs_NT, dtype=bool)
    for n, window in enumerate(inputs_NT):
        seen = set()
        for t in range(1, LENGTH):
            pair = window[t - 1], window[t]
            expected[n, t] = pair in seen
            seen.add(pair)
    assert expected.any()
    np.testing.assert_array_equal(follows_repeated_pair(inputs_NT), expected)


def test_a_model_that_looks_up_is_better_only_where_that_is_possible() -> None:
    class Lookup(torch.nn.Module):
        """Predicts what followed the last two tokens before, and knows nothing else."""

        def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:
            logits_BTV = torch.zeros(*tokens_BT.shape, 64)
            for b, window in enumerate(tokens_BT.tolist()):
                followed: dict[tuple[int, int], int] = {}
                for t in range(1, len(window)):
                    if t >= 2:
                        followed[window[t - 2], window[t - 1]] = window[t]
                    if (window[t - 1], window[t]) in followed:
                        logits_BTV[b, t, followed[window[t - 1], window[t]]] = 20.0
            return logits_BTV

    # Four tokens repeat in each window, so that every token after the sixth can be looked up.
    ids = np.concatenate([np.tile(_ids(4, seed=seed), 4) for seed in range(50)])
    # One id more at the start shifts the windows, so that each one begins with a new repetition.
    found = _loss(Lookup(), np.concatenate([ids, ids[:1]]))
    assert found.lookup < 1.5
    assert found.other > 1.5
    assert found.lookup < found.late < found.whole < found.other


def test_the_parts_make_up_the_whole() -> None:
    model, ids = _model(), _ids(1_000, values=8)
    found = _loss(model, ids)
    inputs, targets = ids[:-1].astype(np.int64), ids[1:]
    padded = np.pad(inputs, (0, -len(inputs) % LENGTH)).reshape(-1, LENGTH)
    is_lookup = follows_repeated_pair(padded).ravel()[: len(targets)]
    size, of_lookup = TOKEN_BYTES[targets].sum(), TOKEN_BYTES[targets[is_lookup]].sum()
    parts = found.lookup * of_lookup + found.other * (size - of_lookup)
    assert parts == pytest.approx(found.whole * size, rel=1e-6)


def test_a_part_without_tokens_is_not_a_number() -> None:
    found = _loss(_model(), np.arange(9, dtype=np.uint16))
    assert math.isnan(found.lookup)
    assert math.isnan(found.late)
    assert found.other == found.whole


def test_it_pauses_between_any_two_passes() -> None:
    model = _model()
    passes: list[int] = []
    calls: list[None] = []
    model.register_forward_hook(lambda *_: passes.append(len(calls)))

    def pause() -> float:
        calls.append(None)
        return 0.0

    held_out_loss(model, _ids(1 + 3 * 1_024), TOKEN_BYTES, LENGTH, "cpu", pause)
    assert passes == [1, 2, 3]
