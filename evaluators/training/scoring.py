"""The loss of a model on held-out text: on all tokens, and on those that require recall.

N windows, B batch, T time, V vocabulary.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from evaluators.text.tokenizer import TokenIds
from evaluators.training.step import UNSCORED, Batch
from evaluators.training.torch_device import Device, autocast
from hardware.quiet import YieldToMeasurements

# Tokens in one forward pass: enough to keep a core busy, few enough for its cache.
_TOKENS_AT_ONCE = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutLoss:
    """Losses on held-out text, each in bits per UTF-8 byte of the tokens that it covers.

    Attributes:
        whole: The loss on all tokens.
        lookup: The loss on tokens that follow a pair of tokens that occurred earlier in the same
            window, where a model can look up what followed it; NaN if there are none.
        other: The loss on the other tokens; NaN if there are none.
        late: The loss on tokens in the second half of a window; NaN if there are none.
    """

    whole: float
    lookup: float
    other: float
    late: float


def held_out_loss(
    model: nn.Module,
    ids: TokenIds,
    token_bytes: NDArray[np.int64],
    context_length: int,
    device: Device,
    yield_to_measurements: YieldToMeasurements,
) -> HeldOutLoss:
    """Return the losses of a model on a text.

    The text is cut into windows of the context length. Every token but the first is scored once,
    given the tokens before it in its own window.

    Args:
        model: A model on `device` that maps tokens to logits.
        ids: The text, at least two ids.
        token_bytes: The number of UTF-8 bytes of each id.
        context_length: Tokens per window.
        device: The device to compute on.
        yield_to_measurements: Called before every forward pass; see `torch_context.computing`.
    """
    windows = windows_of(ids, context_length)
    nats_NT = token_nats(model, windows, device, yield_to_measurements).numpy()
    targets_NT = windows.targets_BT.numpy()
    is_scored_NT = targets_NT != UNSCORED
    bytes_NT = np.where(is_scored_NT, token_bytes[np.maximum(targets_NT, 0)], 0)

    def loss(is_meant_NT: NDArray[np.bool_]) -> float:
        scored_bytes = int(bytes_NT[is_meant_NT].sum())
        if not scored_bytes:
            return math.nan
        return float(nats_NT[is_meant_NT].sum(dtype=np.float64)) / math.log(2.0) / scored_bytes

    is_lookup_NT = follows_repeated_pair(windows.inputs_BT.numpy())
    is_late_NT = np.broadcast_to(np.arange(context_length) >= context_length / 2, nats_NT.shape)
    return HeldOutLoss(
        whole=loss(is_scored_NT),
        lookup=loss(is_scored_NT & is_lookup_NT),
        other=loss(is_scored_NT & ~is_lookup_NT),
        late=loss(is_scored_NT & is_late_NT),
    )


def windows_of(ids: TokenIds, context_length: int) -> Batch:
    """Cut a text into windows (N, T), in which every id but the first is a target once."""
    tokens = torch.from_numpy(ids.astype(np.int64))
    padding = -(len(tokens) - 1) % context_length
    inputs_NT = F.pad(tokens[:-1], (0, padding)).view(-1, context_length)
    targets_NT = F.pad(tokens[1:], (0, padding), value=UNSCORED).view_as(inputs_NT)
    return Batch(inputs_BT=inputs_NT, targets_BT=targets_NT)


def follows_repeated_pair(inputs_NT: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return where an input and the one before it repeat an earlier pair of their window (N, T)."""
    pairs = inputs_NT[:, :-1] * (int(inputs_NT.max(initial=0)) + 1) + inputs_NT[:, 1:]
    order = np.argsort(pairs, axis=1, kind="stable")
    in_order = np.take_along_axis(pairs, order, axis=1)
    is_repeated = np.zeros_like(pairs, dtype=np.bool_)
    np.put_along_axis(is_repeated, order[:, 1:], in_order[:, 1:] == in_order[:, :-1], axis=1)
    return np.pad(is_repeated, ((0, 0), (1, 0)))


def token_nats(
    model: nn.Module, windows: Batch, device: Device, yield_to_measurements: YieldToMeasurements
) -> Tensor:
    """Return the model's cross-entropy for each target (N, T), in nats; 0 for those unscored.

    Args:
        model: A model on `device` that maps tokens to logits.
        windows: Inputs and targets (N, T).
        device: The device to compute on.
        yield_to_measurements: Called before every forward pass; see `torch_context.computing`.
    """
    nats_NT = torch.empty(windows.targets_BT.shape)
    first = 0
    for logits_BTV, targets_BT in logits_and_targets(model, windows, device, yield_to_measurements):
        nats = F.cross_entropy(
            logits_BTV.flatten(0, 1).float(),
            targets_BT.flatten(),
            ignore_index=UNSCORED,
            reduction="none",
        )
        nats_NT[first : first + len(targets_BT)] = nats.view_as(targets_BT)
        first += len(targets_BT)
    return nats_NT


def logits_and_targets(
    model: nn.Module, windows: Batch, device: Device, yield_to_measurements: YieldToMeasurements
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits (B, T, V) and targets (B, T) of a few windows at a time.

    Args:
        model: A model on `device` that maps tokens to logits.
        windows: Inputs and targets (N, T).
        device: The device to compute on.
        yield_to_measurements: Called before every forward pass; see `torch_context.computing`.
    """
    at_once = max(1, _TOKENS_AT_ONCE // windows.inputs_BT.shape[1])
    for first in range(0, len(windows.inputs_BT), at_once):
        inputs_BT = windows.inputs_BT[first : first + at_once]
        targets_BT = windows.targets_BT[first : first + at_once]
        yield_to_measurements()
        with torch.inference_mode(), autocast(device):
            logits_BTV = model(inputs_BT.to(device))
        yield logits_BTV, targets_BT.to(device)
