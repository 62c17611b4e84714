"""A corpus: documents split into training text and held-out text."""

import hashlib
import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass

from evaluators.text.documents import MOST_CHARACTERS, read_documents
from evaluators.text.documents import PYTHON as PYTHON
from evaluators.text.documents import CorpusName as CorpusName
from evaluators.text.documents import check_corpus as check_corpus
from evaluators.text.overlap import SeparatedTexts, separate
from evaluators.text.text_files import sections
from hardware.progress import Say, ignore_text

_TRAINING_BLOCK = 32_768
# Smaller than a training block, so that the few windows that are scored come from many documents.
_HELD_OUT_BLOCK = 4_096
_SHUFFLE_SEED = 20_000

_LEAST_TEXT = 16_384
_LEAST_SCORED = 2_048
# With a megabyte, the difference between two models has a standard error of 0.0013 bits/byte, and
# with a tenth of that, 0.004.
_MOST_HELD_OUT = 1_048_576
_HELD_OUT_SHARE = 0.1
_LEAST_HELD_OUT = 131_072
_MOST_HELD_OUT_SHARE = 0.2

_LONG_RUN = 8  # the default length of the long retraining of `nas confirm`, in budgets
_CHARACTERS_PER_TOKEN = 5
_LEAST_STREAMED = 16_000_000  # so that it has a megabyte to hold out


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Training text and held-out text that share no document.

    Both are cut into blocks, at any character, and the blocks are shuffled. They are read in order
    until a budget is exhausted.

    Attributes:
        training: The blocks of the training text.
        held_out: The blocks of the held-out text.
        identity: SHA-256 over the documents, independent of their order and of file names.
        copies: Documents that are left out of the training text, because they are near copies of
            held-out ones.
        unscored_bytes: Bytes that are left out of the held-out text, because the training text has
            them too.
        used_share: The fraction of the corpus that is used; below 1 for a large one.
    """

    training: tuple[str, ...]
    held_out: tuple[str, ...]
    identity: str
    copies: int = 0
    unscored_bytes: int = 0
    used_share: float = 1.0


def read_corpus(
    name: CorpusName, say: Say = ignore_text, token_budget: int | None = None
) -> Corpus:
    """Read the documents of a corpus and split them into training text and held-out text.

    A large corpus is sampled: only the documents with the smallest hashes are used and held in
    memory, up to `MOST_CHARACTERS`.

    Of these, the documents with the smallest hashes are held out, until they make up a tenth of the
    text, but at most a megabyte; from a small corpus, 128 kB or a fifth of it. A document that is
    too large for that is first cut into sections at blank lines. The two texts are then separated,
    so that no passage of 200 characters occurs in both.

    Args:
        name: What to read; see `read_documents`.
        say: Receives a line about each step, because a large corpus takes minutes.
        token_budget: The tokens of a training. A dataset of the Hugging Face hub is read far enough
            for trainings that are eight times as long; with None, up to `MOST_CHARACTERS`.

    Raises:
        ValueError: A file is missing or malformed, or there is too little text.
    """
    say("reading the corpus")
    sample = _Sample()
    for document in read_documents(name, say, _streamed_characters(token_budget)):
        sample.add(document)
    texts = sample.documents()
    # So that the held-out text comes from several documents, however long they are.
    longest = _held_out_size(texts) // 4
    documents = _distinct(section for text in texts for section in sections(text, longest))
    _check_size(name, documents)
    split = _split(documents)
    if name in (PYTHON, (PYTHON,)):
        # Copies are excluded by file name here, and less than 2 % of the held-out text also occurs
        # in the training text. It stays, so that scores remain comparable with stored ones.
        separated = SeparatedTexts(held_out=documents[:split], training=documents[split:])
    else:
        say("reading the corpus: removing the overlap of training text and held-out text")
        separated = separate(documents[:split], documents[split:])
        _check_separated(name, separated)
    return Corpus(
        training=_shuffled_blocks(separated.training, _TRAINING_BLOCK),
        held_out=_shuffled_blocks(separated.held_out, _HELD_OUT_BLOCK),
        identity=hashlib.sha256(
            b"".join(map(_digest, separated.held_out + separated.training))
        ).hexdigest(),
        copies=separated.copies,
        unscored_bytes=separated.unscored_bytes,
        used_share=sample.used_share,
    )


def corpus_note(corpus: Corpus) -> str | None:
    """Return clauses about the text that is not used, or None if all of it is."""
    notes = []
    if corpus.used_share < 1.0:
        notes.append(f"a random part of the corpus is used, {100 * corpus.used_share:.2g} % of it")
    if corpus.copies or corpus.unscored_bytes:
        notes.append(
            f"{corpus.copies:,} documents are not used for training, because they are near copies "
            f"of held-out ones; {corpus.unscored_bytes:,} bytes of held-out text are not scored, "
            "because they also occur in the training text"
        )
    return "; ".join(notes) or None


def _streamed_characters(token_budget: int | None) -> int:
    if token_budget is None:
        return MOST_CHARACTERS
    wanted = _LONG_RUN * _CHARACTERS_PER_TOKEN * token_budget + _MOST_HELD_OUT
    return max(_LEAST_STREAMED, min(MOST_CHARACTERS, wanted))


def _check_size(name: CorpusName, documents: list[str]) -> None:
    size = _size(documents)
    if size < _LEAST_TEXT or len(documents) < 2:
        raise ValueError(
            f"corpus: {_quoted(name)} has {size:,} characters of text without duplicates, but at "
            f"least {_LEAST_TEXT:,} are required"
        )


def _check_separated(name: CorpusName, separated: SeparatedTexts) -> None:
    training, scored = _size(separated.training), _size(separated.held_out)
    if training < _LEAST_TEXT / 2 or scored < _LEAST_SCORED:
        raise ValueError(
            f"corpus: {_quoted(name)} repeats itself too much: without text that occurs in both "
            f"the training and the held-out documents, {training:,} characters remain for training "
            f"and {scored:,} for scoring, but at least {_LEAST_TEXT // 2:,} and {_LEAST_SCORED:,} "
            "are required"
        )


def _quoted(name: CorpusName) -> str:
    return f"'{name}'" if isinstance(name, str) else str(list(name))


class _Sample:
    """The documents with the smallest hashes, without duplicates and blank ones.

    They are a random part of all documents, and the same part in whatever order these are added.
    """

    def __init__(self) -> None:
        self._by_digest: dict[bytes, str] = {}
        self._size = 0  # characters of the kept documents
        self._read = 0  # characters of all documents
        self._smallest_dropped: bytes | None = None

    def add(self, document: str) -> None:
        """Keep a document, unless its hash is too large."""
        if not document.strip():
            return
        self._read += len(document)
        digest = _digest(document)
        dropped = self._smallest_dropped
        if digest in self._by_digest or (dropped is not None and digest >= dropped):
            return
        self._by_digest[digest] = document
        self._size += len(document)
        if self._size > 1.25 * MOST_CHARACTERS:  # not for each document, because it takes a while
            self._drop()

    def documents(self) -> list[str]:
        """Return the documents in the order of their hashes."""
        if self._size > MOST_CHARACTERS:
            self._drop()
        return [self._by_digest[digest] for digest in sorted(self._by_digest)]

    @property
    def used_share(self) -> float:
        """The fraction of the added text that is kept; 1 if only duplicates are not."""
        if self._smallest_dropped is None:
            return 1.0
        return self._size / self._read

    def _drop(self) -> None:
        """Drop the documents with the largest hashes."""
        for digest in sorted(self._by_digest, reverse=True):
            if self._size <= MOST_CHARACTERS:
                break
            self._size -= len(self._by_digest.pop(digest))
            self._smallest_dropped = digest


def _distinct(documents: Iterable[str]) -> list[str]:
    """Return the documents in the order of their hashes, without duplicates and blank ones."""
    by_digest = {_digest(document): document for document in documents if document.strip()}
    return [document for _, document in sorted(by_digest.items())]


def _digest(document: str) -> bytes:
    return hashlib.sha256(document.encode()).digest()


def _split(documents: list[str]) -> int:
    """Return how many documents are held out, counted from the first; the last one never is."""
    wanted = _held_out_size(documents)
    sizes = itertools.accumulate(len(document) for document in documents[:-1])
    reached = (index for index, size in enumerate(sizes, start=1) if size >= wanted)
    return next(reached, len(documents) - 1)


def _held_out_size(documents: list[str]) -> int:
    size = _size(documents)
    least = min(_LEAST_HELD_OUT, _MOST_HELD_OUT_SHARE * size)
    return int(min(_MOST_HELD_OUT, max(_HELD_OUT_SHARE * size, least)))


def _size(documents: list[str]) -> int:
    return sum(len(document) for document in documents)


def _shuffled_blocks(documents: Iterable[str], block: int) -> tuple[str, ...]:
    """Join the documents, cut them into blocks and shuffle these."""
    blocks: list[str] = []
    rest = ""
    for document in documents:
        rest += document
        whole = len(rest) - len(rest) % block
        blocks.extend(rest[start : start + block] for start in range(0, whole, block))
        rest = rest[whole:]
    if rest:
        blocks.append(rest)
    random.Random(_SHUFFLE_SEED).shuffle(blocks)  # noqa: S311 - an order, not a secret
    return tuple(blocks)
