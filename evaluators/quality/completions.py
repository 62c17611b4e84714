"""A task's examples in tokens: as text to train on, and as windows in which completions are scored.

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
from evaluators.text.tokenizer import Say, TokenIds, Tokenizer, encode, encode_each
from evaluators.training.fit import nats
from evaluators.training.step import UNSCORED, Batch
from evaluators.training.torch_device import Device
from hardware.quiet import YieldToMeasurements

# What an example begins with, so that the first token of each has one before it.
_BORDER = "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completions:
    """scored_bytes: of UTF-8 in all completions."""

    windows: Batch
    scored_bytes: int


def training_ids(
    tokenizer: Tokenizer, examples: Sequence[Example], count: int, say: Say
) -> TokenIds:
    """So many ids of the examples one after the other, from the first again where they end."""
    ids = encode(tokenizer, _texts(examples), say, at_least=count)
    return np.resize(ids, count)


def held_out_windows(
    tokenizer: Tokenizer, examples: Sequence[Example], context_length: int
) -> Completions:
    """Every token of every completion is a target once; tokens of prompts never are.

    A window ends with what it scores, and begins with as much of the example as fits before it, so
    that of a long one the beginning of the prompt is left out. A completion longer than half a
    window is scored in parts of that length, so that each token has at least as much before it.
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
    """Bits that the model spends on a byte of the completions; see `training.nats`."""
    return (
        nats(model, completions.windows, device, yield_to_measurements)
        / math.log(2.0)
        / completions.scored_bytes
    )


def _texts(examples: Sequence[Example]) -> list[str]:
    """Prompts and completions apart, so that a completion begins with a token of its own."""
    return [text for each in examples for text in (_BORDER + each.prompt, each.completion)]
