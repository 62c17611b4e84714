"""The recall probe: sequences that ask for what they showed earlier (associative recall).

The task is multi-query associative recall from Zoology (arXiv 2312.04927). A sequence shows pairs
of a key and a value. Keys follow, and each is to be answered with the value that was paired with
it. This module draws the sequences; no model is involved.

B sequences, T time, P pairs, Q queries.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

NO_QUERY = -1

_MOST_TOKENS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallProbe:
    """The size of the task, and the length of the training on it.

    Attributes:
        pairs: Key/value pairs shown at the beginning of every sequence; all keys differ.
        vocabulary: The number of tokens: half of them are keys, half are values.
        length: Tokens per sequence; every token after the pairs is a query.
        token_budget: Tokens that are read in training.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    pairs: int = 4
    vocabulary: int = 32
    length: int = 32
    token_budget: int = 200_000

    def __post_init__(self) -> None:
        for name, least, most in (
            ("pairs", 1, _MOST_TOKENS),
            ("vocabulary", 2 * self.pairs, _MOST_TOKENS),
            ("length", 2 * self.pairs + 1, _MOST_TOKENS),
            ("token_budget", self.length, 1_000_000_000_000),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name}: {value:,} is not between {least:,} and {most:,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Sequences of the probe and their answers.

    Attributes:
        tokens_BT: The sequences.
        answers_BT: The value that each query asks for; NO_QUERY where a pair is shown.
    """

    tokens_BT: NDArray[np.int64]
    answers_BT: NDArray[np.int64]


def draw_questions(probe: RecallProbe, count: int, generator: np.random.Generator) -> Questions:
    """Draw sequences of the form k v k v ... k v q q ... q.

    Keys, values and queries are drawn uniformly.

    Args:
        probe: The size of the task.
        count: The number of sequences B.
        generator: The source of randomness.
    """
    half = probe.vocabulary // 2
    all_keys = np.tile(np.arange(half), (count, 1))
    keys_BP = generator.permuted(all_keys, axis=1)[:, : probe.pairs]
    values_BP = generator.integers(half, probe.vocabulary, keys_BP.shape)
    shown_BT = np.stack([keys_BP, values_BP], axis=2).reshape(count, -1)
    asked_BQ = generator.integers(probe.pairs, size=(count, probe.length - shown_BT.shape[1]))
    queries_BQ = np.take_along_axis(keys_BP, asked_BQ, axis=1)
    answers_BQ = np.take_along_axis(values_BP, asked_BQ, axis=1)
    return Questions(
        tokens_BT=np.concatenate([shown_BT, queries_BQ], axis=1),
        answers_BT=np.concatenate([np.full_like(shown_BT, NO_QUERY), answers_BQ], axis=1),
    )
