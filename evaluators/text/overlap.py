"""No long passage on both sides of a split: texts to train on and texts held out are told apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A passage of twice this covers a whole block of its text, blocks counted from the text's start.
# So it is enough to look up the held-out blocks at every position of the texts to train on.
_BLOCK = 96
_BYTES_AT_ONCE = 1 << 18  # more does not stay in the caches
# No byte of UTF-8, so no block reaches from one text into the next.
_BORDER = b"\xff"

# A text to train on that shares half of itself with held-out ones is a copy of them.
_COPIED_SHARE = 0.5
# What more texts than these share (a tenth of them where they are few) is a form that texts have, a
# licence or a prompt, and makes no copies of them.
_FEW = 10
_FEW_SHARE = 0.1

_THIRD = 32
_FILTER_BITS = 24
_WORD = 1 << 64
_SEED = 20_000

_Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Separated:
    """Two sides with no passage of 200 characters in common.

    copies: how many texts to train on were left out as near copies of held-out ones.
    unscored_bytes: of held-out text that is held out no more, since texts to train on have it too.
    """

    held_out: list[str]
    training: list[str]
    copies: int = 0
    unscored_bytes: int = 0


def separated(held_out: list[str], training: list[str]) -> Separated:
    """Near copies of held-out texts are not trained on, and what else is shared is not scored.

    Around the latter a held-out text falls into pieces, each a text of its own.
    """
    blocks = [_block_hashes(text.encode()) for text in held_out]
    keys, block_keys = np.unique(np.concatenate(blocks), return_inverse=True)
    found = _occurrences(keys, training)
    having = np.unique(found.key * len(training) + found.text) // len(training)
    few = min(_FEW, int(_FEW_SHARE * len(training)))
    telling = np.bincount(having, minlength=len(keys))[found.key] <= few
    shared = np.bincount(
        found.text[telling], _covered(found.position[telling]), minlength=len(training)
    )
    sizes = np.array([len(text.encode()) for text in training])
    is_copy = (shared > 0) & (shared >= _COPIED_SHARE * sizes)
    remaining = np.zeros(len(keys), dtype=np.bool_)
    remaining[found.key[~is_copy[found.text]]] = True
    borders = np.cumsum([len(each) for each in blocks])[:-1]
    unscored = np.split(remaining[block_keys], borders)
    return Separated(
        held_out=[
            piece
            for text, cut in zip(held_out, unscored, strict=True)
            for piece in _pieces(text, cut)
        ],
        training=[text for text, copy in zip(training, is_copy, strict=True) if not copy],
        copies=int(is_copy.sum()),
        unscored_bytes=_BLOCK * int(sum(cut.sum() for cut in unscored)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Occurrences:
    """Where keys are found: in which text, and where in all of them, in rising order."""

    key: NDArray[np.int64]
    text: NDArray[np.int64]
    position: NDArray[np.int64]


def _occurrences(keys: _Hashes, texts: Sequence[str]) -> _Occurrences:
    """`keys` in rising order; two hashes of 64 bits that are equal are taken for equal blocks."""
    # A look-up by the first bits spares the search for most positions.
    begun = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
    begun[keys >> np.uint64(64 - _FILTER_BITS)] = True
    parts = [np.empty((3, 0), dtype=np.int64)]
    first = passed = 0
    for batch in _batches(texts):
        data = _BORDER.join(batch)
        hashes = _hashes(data)
        at = np.flatnonzero(begun[hashes >> np.uint64(64 - _FILTER_BITS)])
        key = np.searchsorted(keys, hashes[at]).clip(max=len(keys) - 1)
        hits = keys[key] == hashes[at]
        starts = np.cumsum([0] + [len(text) + 1 for text in batch[:-1]])
        text = np.searchsorted(starts, at, side="right") - 1
        parts.append(np.stack([key[hits], text[hits] + first, at[hits] + passed]))
        first, passed = first + len(batch), passed + len(data) + 1
    key, text, position = np.concatenate(parts, axis=1)
    return _Occurrences(key=key, text=text, position=position)


def _batches(texts: Sequence[str]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for text in texts:
        encoded = text.encode()
        batch.append(encoded)
        size += len(encoded)
        if size >= _BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _block_hashes(text: bytes) -> _Hashes:
    """Of the whole blocks that the text begins with."""
    return _hashes(text)[::_BLOCK]


def _hashes(data: bytes) -> _Hashes:
    """Of the block at every position: a polynomial in its bytes (Karp and Rabin 1987)."""
    if len(data) < _BLOCK:
        return np.empty(0, dtype=np.uint64)
    generator = np.random.default_rng(_SEED)
    values = generator.integers(_WORD, size=256, dtype=np.uint64, endpoint=False)
    power = int(generator.integers(_WORD, dtype=np.uint64)) | 1
    hashes: _Hashes = values[np.frombuffer(data, dtype=np.uint8)]
    length = 1
    while length < _THIRD:
        hashes = hashes[:-length] * np.uint64(power) + hashes[length:]
        length, power = 2 * length, power * power % _WORD
    two = hashes[:-_THIRD] * np.uint64(power) + hashes[_THIRD:]
    whole: _Hashes = two[:-_THIRD] * np.uint64(power) + hashes[2 * _THIRD :]
    return whole


def _covered(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each block the bytes that no later one covers; positions in rising order."""
    return np.minimum(np.diff(positions, append=np.iinfo(np.int64).max), _BLOCK)


def _pieces(text: str, cut: NDArray[np.bool_]) -> Iterator[str]:
    """What is left of the text without those blocks; a letter cut through is left out too."""
    if not cut.any():
        yield text
        return
    data, start = text.encode(), 0
    for block in [*np.flatnonzero(cut), len(data)]:
        piece = data[start : block * _BLOCK].decode(errors="ignore")
        if piece.strip():
            yield piece
        start = (block + 1) * _BLOCK
