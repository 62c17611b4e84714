"""Removal of overlap: no long passage remains in both the training texts and the held-out texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# In bytes. Held-out texts are cut into blocks from their start, so a passage of twice this length
# contains a whole block. It is therefore enough to look up the blocks at every position of the
# training texts.
_BLOCK = 96
_BYTES_AT_ONCE = 1 << 18  # more would not stay in the processor's caches
# This byte does not occur in UTF-8, so no block extends from one text into the next.
_BORDER = b"\xff"

# A training text that shares this fraction of itself with held-out texts is a copy of them.
_COPIED_FRACTION = 0.5
# A passage in more training texts than this (or than a tenth of them, if that is less) is
# boilerplate, such as a licence or a prompt, and does not make a text a copy.
_BOILERPLATE_TEXTS = 10
_BOILERPLATE_FRACTION = 0.1

_THIRD = 32
_FILTER_BITS = 24
_WORD = 1 << 64
_SEED = 20_000

_Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeparatedTexts:
    """Held-out and training texts with no passage of 200 characters in common.

    Attributes:
        held_out: The held-out texts, or the pieces of them that remain.
        training: The training texts that remain.
        copies: The number of training texts removed as near copies of held-out ones.
        unscored_bytes: The bytes removed from held-out texts because training texts have them too.
    """

    held_out: list[str]
    training: list[str]
    copies: int = 0
    unscored_bytes: int = 0


def separate(held_out: list[str], training: list[str]) -> SeparatedTexts:
    """Remove the overlap between held-out and training texts.

    Near copies of held-out texts are removed from the training texts. Other shared passages are
    removed from the held-out texts, which are cut into pieces there.

    Args:
        held_out: The texts to score.
        training: The texts to train on.
    """
    blocks = [_block_hashes(text.encode()) for text in held_out]
    keys, block_keys = np.unique(np.concatenate(blocks), return_inverse=True)
    found = _occurrences(keys, training)
    containing = np.unique(found.key * len(training) + found.text) // len(training)
    most = min(_BOILERPLATE_TEXTS, int(_BOILERPLATE_FRACTION * len(training)))
    is_specific = np.bincount(containing, minlength=len(keys))[found.key] <= most
    shared = np.bincount(
        found.text[is_specific], _covered(found.position[is_specific]), minlength=len(training)
    )
    sizes = np.array([len(text.encode()) for text in training])
    is_copy = (shared > 0) & (shared >= _COPIED_FRACTION * sizes)
    remaining = np.zeros(len(keys), dtype=np.bool_)
    remaining[found.key[~is_copy[found.text]]] = True
    borders = np.cumsum([len(each) for each in blocks])[:-1]
    unscored = np.split(remaining[block_keys], borders)
    return SeparatedTexts(
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
    """Occurrences of keys: the key's index, the text's index and the byte's position in all texts.

    Positions are in ascending order.
    """

    key: NDArray[np.int64]
    text: NDArray[np.int64]
    position: NDArray[np.int64]


def _occurrences(keys: _Hashes, texts: Sequence[str]) -> _Occurrences:
    """Find the blocks with the given hashes; keys are in ascending order.

    Two blocks with the same 64-bit hash are taken to be equal.
    """
    # A lookup of the first bits avoids the binary search at most positions.
    is_prefix = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
    is_prefix[keys >> np.uint64(64 - _FILTER_BITS)] = True
    parts = [np.empty((3, 0), dtype=np.int64)]
    first = passed = 0
    for batch in _batches(texts):
        data = _BORDER.join(batch)
        hashes = _hashes(data)
        at = np.flatnonzero(is_prefix[hashes >> np.uint64(64 - _FILTER_BITS)])
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
    """Return the hashes of the text's consecutive whole blocks."""
    return _hashes(text)[::_BLOCK]


def _hashes(data: bytes) -> _Hashes:
    """Return the hash of the block at every position: a polynomial in its bytes.

    Karp and Rabin, Efficient randomized pattern-matching algorithms (1987).
    """
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
    """Return the bytes of each block that no later block covers; positions are ascending."""
    return np.minimum(np.diff(positions, append=np.iinfo(np.int64).max), _BLOCK)


def _pieces(text: str, cut: NDArray[np.bool_]) -> Iterator[str]:
    """Yield what remains of a text without its cut blocks and the characters that they split."""
    if not cut.any():
        yield text
        return
    data, start = text.encode(), 0
    for block in [*np.flatnonzero(cut), len(data)]:
        piece = data[start : block * _BLOCK].decode(errors="ignore")
        if piece.strip():
            yield piece
        start = (block + 1) * _BLOCK
