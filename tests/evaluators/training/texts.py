"""A text that a tiny model can learn, and such a model."""

import numpy as np

from evaluators.training.tokenized_text import TokenizedText
from tests.search_space.strategies import ATTENTION, CONV, stack

TINY = stack(CONV, ATTENTION)


def pattern(length: int, vocab_size: int = 64, seed: int = 0) -> np.ndarray:
    """Return ids that each follow from the id before, except for one in ten, which is random."""
    draw = np.random.default_rng(seed)
    ids = [1]
    while len(ids) < length:
        ids.append((5 * ids[-1] + 3) % vocab_size)
        if draw.random() < 0.1:
            ids[-1] = int(draw.integers(vocab_size))
    return np.array(ids, dtype=np.uint16)


def text_of(vocab_size: int = 64, training: int = 5_000, validation: int = 333) -> TokenizedText:
    return TokenizedText(
        training=pattern(training, vocab_size),
        validation=pattern(validation, vocab_size, seed=1),
        token_bytes=1 + np.arange(vocab_size) % 5,
    )


TEXT = text_of()
