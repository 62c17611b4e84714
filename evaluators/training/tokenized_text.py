"""A text as token ids, and the batches of windows that a training reads from it.

B batch, S = T + 1 tokens of a window and its last target.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from evaluators.text.tokenizer import TokenIds
from evaluators.training.step import Batch
from evaluators.training.training_settings import TrainingSettings

# Indexing with token ids takes eight bytes for each of them.
_COUNTED_TOKENS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedText:
    """A text as token ids.

    Attributes:
        training: The ids to train on.
        validation: The ids to score.
        token_bytes: The number of UTF-8 bytes of each id of the vocabulary.
        early: How many of the first validation ids are scored before the end of the training; None
            scores all of them.
    """

    training: TokenIds
    validation: TokenIds
    token_bytes: NDArray[np.int64]
    early: int | None = None

    @property
    def mean_bytes(self) -> float:
        """The mean number of UTF-8 bytes per token of the training text."""
        parts = range(0, len(self.training), _COUNTED_TOKENS)
        total = sum(
            int(self.token_bytes[self.training[start : start + _COUNTED_TOKENS]].sum())
            for start in parts
        )
        return total / len(self.training)


def mixed_windows(ids: TokenIds, settings: TrainingSettings) -> Iterator[Batch]:
    """Yield `settings.steps` batches of windows in random order.

    Every window is read once before any window is read again.

    Args:
        ids: The text.
        settings: The size and number of the batches, the seed and the device.

    Raises:
        ValueError: The text is shorter than one window and its last target.
    """
    if len(ids) <= settings.context_length:
        raise ValueError(
            f"context_length: {settings.context_length} requires more than the {len(ids)} tokens "
            "of the corpus"
        )
    length = settings.context_length
    count = (len(ids) - 1) // length
    generator = np.random.default_rng(settings.seed)
    wanted = settings.steps * settings.batch_size
    rounds = math.ceil(wanted / count)
    order = np.concatenate([generator.permutation(count) for _ in range(rounds)])[:wanted]
    for first in range(0, wanted, settings.batch_size):
        chosen_B = order[first : first + settings.batch_size]
        # The last target of a window is the first input of the next.
        chosen_BS = ids[length * chosen_B[:, None] + np.arange(length + 1)].astype(np.int64)
        tokens_BS = torch.from_numpy(chosen_BS).to(settings.device)
        yield Batch(inputs_BT=tokens_BS[:, :-1], targets_BT=tokens_BS[:, 1:])
