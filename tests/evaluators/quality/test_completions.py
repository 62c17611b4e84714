"""Scoring of completions: the targets, their context, and a reference loop over tokens."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluators.quality.completions import completion_bits_per_byte, held_out_windows, training_ids
from evaluators.text.task import Example
from evaluators.text.tokenizer import Tokenizer, decode, train_tokenizer
from evaluators.training.step import UNSCORED
from search_space.torch_model import LanguageModel
from tests.search_space.strategies import CORNERS

EXAMPLES = [
    Example(prompt="What is 2 + 2?", completion="4"),
    Example(prompt="", completion="nothing was asked"),
    Example(prompt="a long prompt " * 20, completion="short"),
    Example(prompt="short", completion="a long completion, ä €, " * 9),
    Example(prompt="What is 2 + 2?", completion=" four\n"),
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def tokenizer(own_cache) -> Tokenizer:
    text = " ".join(f"{each.prompt} {each.completion}" for each in EXAMPLES)
    return train_tokenizer([text], 300, lambda _: None)


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.bpe.encode(text).ids)


@pytest.mark.parametrize("context_length", [1, 2, 7, 16, 1_000])
class TestWindows:
    def test_targets_are_the_completions_and_nothing_else(self, tokenizer, context_length):
        completions = held_out_windows(tokenizer, EXAMPLES, context_length)
        targets = completions.windows.targets_BT
        scored = targets[targets != UNSCORED].numpy().astype(np.uint16)
        text = "".join(example.completion for example in EXAMPLES)
        assert decode(tokenizer, scored) == text
        assert completions.scored_bytes == len(text.encode())
        assert tokenizer.token_bytes[scored].sum() == len(text.encode())

    def test_every_target_has_its_context_before_it(self, tokenizer, context_length):
        """The context is as long as the window allows, and at least half of a window."""
        windows = held_out_windows(tokenizer, EXAMPLES, context_length).windows
        assert windows.inputs_BT.shape[1] <= context_length
        scored = [
            (row[: place + 1].tolist(), targets[place].item())
            for row, targets in zip(windows.inputs_BT, windows.targets_BT, strict=True)
            for place in (targets != UNSCORED).nonzero().flatten().tolist()
        ]
        for example in EXAMPLES:
            prompt = ids_of(tokenizer, "\n" + example.prompt)
            ids = prompt + ids_of(tokenizer, example.completion)
            for place in range(len(prompt), len(ids)):
                seen, target = scored.pop(0)
                assert target == ids[place]
                assert seen == ids[place - len(seen) : place]
                assert len(seen) >= min(place, max(1, context_length // 2))
        assert not scored


@pytest.mark.parametrize("name", CORNERS)
def test_the_score_equals_that_of_a_loop_over_tokens(tokenizer, name, monkeypatch):
    monkeypatch.setattr("evaluators.training.torch_device.precision", lambda _: "fp32")
    architecture = replace(CORNERS[name], vocab_size=300)
    examples = [EXAMPLES[0], EXAMPLES[1], EXAMPLES[4]]
    model = LanguageModel(architecture)
    model.initialise(0)
    nats = 0.0
    for example in examples:
        ids = ids_of(tokenizer, "\n" + example.prompt)
        with torch.inference_mode():
            for following in ids_of(tokenizer, example.completion):
                logits = model(torch.tensor([ids]))[0, -1]
                nats -= torch.log_softmax(logits, dim=-1)[following].item()
                ids.append(following)
    expected = nats / math.log(2) / sum(len(each.completion.encode()) for each in examples)
    completions = held_out_windows(tokenizer, examples, 1_000)
    found = completion_bits_per_byte(model, completions, "cpu", lambda: 0.0)
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("count", [1, 50, 5_000])
def test_training_ids_are_the_examples_in_order_repeated(tokenizer, count):
    ids = training_ids(tokenizer, EXAMPLES, count, lambda _: None)
    assert len(ids) == count
    once = [
        part
        for each in EXAMPLES
        for text in ("\n" + each.prompt, each.completion)
        for part in ids_of(tokenizer, text)
    ]
    assert ids.tolist() == [once[place % len(once)] for place in range(count)]
