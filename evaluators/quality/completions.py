"""The examples of a task as tokens: text to train on, and windows in which completions are scored.

N windows, T time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from evaluators.text.task import Example
from evaluators.text.tokenizer import TokenIds, Tokenizer, encode, encode_each
from evaluators.training.scoring import token_nats
from evaluators.training.step import UNSCORED, Batch
from evaluators.training.torch_device import Device
from hardware.progress import Say
from hardware.quiet import YieldToMeasurements

# Every example begins with this text, so that its first token has a token before it.
_BORDER = "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completions:
    """Held-out completions, ready to be scored.

    Attributes:
        windows: Inputs and targets (N, T); only tokens of completions are targets.
        scored_bytes: The UTF-8 bytes of all completions together.
    """

    windows: Batch
    scored_bytes: int


def training_ids(
    tokenizer: Tokenizer, examples: Sequence[Example], count: int, say: Say
) -> TokenIds:
    """Return the token ids of the examples in order, repeated until there are `count` ids."""
    ids = encode(tokenizer, _texts(examples), say, at_least=count)
    return np.resize(ids, count)


def held_out_windows(
    tokenizer: Tokenizer, examples: Sequence[Example], context_length: int
) -> Completions:
    """Cut examples into windows in which every token of every completion is a target once.

    Tokens of prompts are never targets. A window ends with the tokens that it scores and begins
    with as much of the example as fits before them, so the beginning of a long prompt is cut off. A
    completion longer than half a window is scored in parts of half a window, so that each token has
    at least that much context.

    Args:
        tokenizer: The tokenizer of the model to score.
        examples: The held-out examples.
        context_length: The maximum length of a window, in tokens.
    """
    ids = encode_each(tokenizer, _texts(examples))
    part = max(1, context_length // 2)
    inputs: list[Tensor] = []
    targets: list[Tensor] = []
    for prompt, completion in zip(ids[::2], ids[1::2], strict=True):
        example = torch.from_numpy(np.concatenate([prompt, completion]).astype(np.int64))
        for first in range(len(prompt), len(example), part):
            end = min(first + part, len(example))
            begin = max(0, end - 1 - context_length)
            inputs.append(example[begin : end - 1])
            targets.append(example[begin + 1 : end].clone())
            targets[-1][: first - begin - 1] = UNSCORED
    return Completions(
        windows=Batch(
            inputs_BT=pad_sequence(inputs, batch_first=True),
            targets_BT=pad_sequence(targets, batch_first=True, padding_value=UNSCORED),
        ),
        scored_bytes=sum(len(example.completion.encode()) for example in examples),
    )


def completion_bits_per_byte(
    model: nn.Module,
    completions: Completions,
    device: Device,
    yield_to_measurements: YieldToMeasurements,
) -> float:
    """Return the model's cross-entropy on the completions, in bits per UTF-8 byte.

    Args:
        model: A model on `device` that maps tokens to logits.
        completions: The completions to score.
        device: The device to compute on.
        yield_to_measurements: Called before every forward pass; see `computing`.
    """
    return (
        token_nats(model, completions.windows, device, yield_to_measurements).sum().item()
        / math.log(2.0)
        / completions.scored_bytes
    )


def _texts(examples: Sequence[Example]) -> list[str]:
    """Return prompts and completions as separate texts, so that no token spans both."""
    return [text for each in examples for text in (_BORDER + each.prompt, each.completion)]
