"""Byte-level BPE tokenizers and token ids, both cached on disk."""

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import decoders, models, pre_tokenizers, trainers

from evaluators.text.cache_files import cached, content_of
from hardware.progress import Say

TokenIds: TypeAlias = NDArray[np.uint16]

_BYTES = 256
_MOST_TOKENS = 65_536
# More text costs time and hardly changes the merges; 6 MB take a second or two.
_TRAINING_CHARACTERS = 6_000_000
_BLOCKS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """A tokenizer that converts any text to ids and back without loss.

    Attributes:
        token_bytes: The number of UTF-8 bytes of each id. A small text may lead to fewer ids than
            were requested.
        identity: SHA-256 over the tokenizer's serialised form.
        bpe: The tokenizer of the package tokenizers.
    """

    token_bytes: NDArray[np.int64]
    identity: str
    bpe: tokenizers.Tokenizer


def train_tokenizer(blocks: Sequence[str], vocab_size: int, say: Say) -> Tokenizer:
    """Train a byte-level BPE tokenizer on the first megabytes of a text, or load it from the cache.

    Args:
        blocks: The blocks of the text, of which the first 6 million characters are read.
        vocab_size: The maximum number of tokens, from 256 to 65,536.
        say: Receives a line about a training, and about a cache that is damaged or cannot be
            written.

    Raises:
        ValueError: `vocab_size` is out of range.
    """
    if not _BYTES <= vocab_size <= _MOST_TOKENS:
        raise ValueError(f"vocab_size: {vocab_size} is not between {_BYTES} and {_MOST_TOKENS:,}")
    sample = _first_characters(blocks, _TRAINING_CHARACTERS)

    def train() -> bytes:
        say(f"training a tokenizer of {vocab_size:,} tokens")
        return _trained(sample, vocab_size).to_str().encode()

    key = _key(tokenizers.__version__, str(vocab_size), *sample)
    text = content_of(cached(f"tokenizer-{key}.json", train, say))
    bpe = tokenizers.Tokenizer.from_str(text.decode())
    spellings = sorted(bpe.get_vocab().items(), key=lambda item: item[1])
    return Tokenizer(
        # A byte-level token is spelled with one character per byte.
        token_bytes=np.array([len(spelling) for spelling, _ in spellings], dtype=np.int64),
        identity=hashlib.sha256(text).hexdigest(),
        bpe=bpe,
    )


def encode(
    tokenizer: Tokenizer, blocks: Sequence[str], say: Say, at_least: int | None = None
) -> TokenIds:
    """Return the ids of a text, from the cache if it has been encoded before.

    The ids are mapped from the file in the cache, so they take no memory until they are read, and
    several processes share it.

    Args:
        tokenizer: The tokenizer to use.
        blocks: The blocks of the text.
        say: Receives lines about the progress of an encoding, and about a cache that is damaged or
            cannot be written.
        at_least: Stop reading blocks at this number of ids, which is then the number returned; None
            reads them all.
    """

    def ids() -> bytes:
        what = "the text" if at_least is None else f"{at_least:,} tokens of text"
        say(f"encoding {what}")
        stream = io.BytesIO()
        np.save(
            stream,
            _encoded(
                tokenizer,
                blocks,
                at_least,
                lambda done: say(f"encoding {what}: {100 * done:.0f} %"),
            ),
        )
        return stream.getvalue()

    key = _key(tokenizer.identity, str(at_least), *blocks)
    stored = cached(f"tokens-{key}.npy", ids, say)
    loaded: TokenIds
    if isinstance(stored, Path):
        loaded = np.load(stored, mmap_mode="r", allow_pickle=False)
    else:
        loaded = np.load(io.BytesIO(stored), allow_pickle=False)
    return loaded


def encode_each(tokenizer: Tokenizer, texts: Sequence[str]) -> list[TokenIds]:
    """Return the ids of each text, without using the cache on disk."""
    with _one_thread():
        encodings = tokenizer.bpe.encode_batch_fast(list(texts))
    return [np.array(encoding.ids, dtype=np.uint16) for encoding in encodings]


def decode(tokenizer: Tokenizer, token_ids: TokenIds) -> str:
    """Return the text of token ids."""
    text: str = tokenizer.bpe.decode(token_ids.tolist(), skip_special_tokens=False)
    return text


def _trained(blocks: Sequence[str], vocab_size: int) -> tokenizers.Tokenizer:
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    with _one_thread():
        bpe.train_from_iterator(blocks, trainer)
    return bpe


def _encoded(
    tokenizer: Tokenizer,
    blocks: Sequence[str],
    at_least: int | None,
    report: Callable[[float], None],
) -> TokenIds:
    """Encode blocks, and report the completed fraction between any two batches of them."""
    parts: list[TokenIds] = []
    count = 0
    for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
        if at_least is not None and count >= at_least:
            break
        if start:
            report(max(start / len(blocks), 0.0 if at_least is None else count / at_least))
        ids_of_each = encode_each(tokenizer, blocks[start : start + _BLOCKS_AT_ONCE])
        parts.extend(ids_of_each)
        count += sum(map(len, ids_of_each))
    ids = np.concatenate(parts) if parts else np.empty(0, dtype=np.uint16)
    return ids if at_least is None else ids[:at_least]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep the package tokenizers to one thread; it would take cores that a measurement needs."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _first_characters(blocks: Sequence[str], most: int) -> list[str]:
    taken: list[str] = []
    for block in blocks:
        if most <= 0:
            break
        taken.append(block[:most])
        most -= len(block)
    return taken


def _key(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()[:32]
