"""A corpus: documents split into training text and held-out text."""

import hashlib
import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from evaluators.text.documents import PYTHON as PYTHON
from evaluators.text.documents import CorpusName as CorpusName
from evaluators.text.documents import check_corpus as check_corpus
from evaluators.text.documents import read_documents
from evaluators.text.overlap import SeparatedTexts, separate
from hardware.progress import Say, ignore_text

_TRAINING_BLOCK = 32_768
# Smaller than a training block, so that the few windows that are scored come from many documents.
_HELD_OUT_BLOCK = 4_096
_SECTION = 16_384
_SHUFFLE_SEED = 20_000

_LEAST_TEXT = 16_384
_LEAST_SCORED = 2_048
_HELD_OUT_SHARE = 0.03
_LEAST_HELD_OUT = 131_072
_MOST_HELD_OUT_SHARE = 0.2


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
    """

    training: tuple[str, ...]
    held_out: tuple[str, ...]
    identity: str
    copies: int = 0
    unscored_bytes: int = 0


def read_corpus(name: CorpusName, say: Say = ignore_text) -> Corpus:
    """Read the documents of a corpus and split them into training text and held-out text.

    The documents with the smallest hashes are held out, until they make up a few percent of the
    text. A document that is too large for that is first cut into sections at blank lines. The two
    texts are then separated, so that no passage of 200 characters occurs in both.

    Args:
        name: What to read; see `read_documents`.
        say: Receives a line about each step, because a large corpus takes minutes.

    Raises:
        ValueError: A file is missing or malformed, or there is too little text.
    """
    say("reading the corpus")
    texts = _distinct(read_documents(name, say))
    documents = _distinct(
        section for text in texts for section in _sections(text, longest=_held_out_size(texts))
    )
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
            "".join(map(_digest, separated.held_out + separated.training)).encode()
        ).hexdigest(),
        copies=separated.copies,
        unscored_bytes=separated.unscored_bytes,
    )


def overlap_note(corpus: Corpus) -> str | None:
    """Return a sentence about text that occurred on both sides, or None if there was none."""
    if not corpus.copies and not corpus.unscored_bytes:
        return None
    return (
        f"{corpus.copies:,} documents are not used for training, because they are near copies of "
        f"held-out ones; {corpus.unscored_bytes:,} bytes of held-out text are not scored, because "
        "they also occur in the training text"
    )


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


def _sections(text: str, longest: int) -> Iterator[str]:
    """Return the text, or sections of it if it has more than `longest` characters."""
    if len(text) <= longest:
        yield text
        return
    size = max(1, min(_SECTION, longest // 4))
    start = 0
    while start < len(text):
        end = start + size
        if end < len(text):
            for border in ("\n\n", "\n"):
                found = text.rfind(border, start, end)
                if found >= 0:
                    end = found + len(border)
                    break
        yield text[start:end]
        start = end


def _distinct(documents: Iterable[str]) -> list[str]:
    """Return the documents in the order of their hashes, without duplicates and blank ones."""
    by_digest = {_digest(document): document for document in documents if document.strip()}
    return [document for _, document in sorted(by_digest.items())]


def _digest(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()


def _split(documents: list[str]) -> int:
    """Return how many documents are held out, counted from the first; the last one never is."""
    wanted = _held_out_size(documents)
    sizes = itertools.accumulate(len(document) for document in documents[:-1])
    reached = (index for index, size in enumerate(sizes, start=1) if size >= wanted)
    return next(reached, len(documents) - 1)


def _held_out_size(documents: list[str]) -> int:
    size = _size(documents)
    return int(max(_HELD_OUT_SHARE * size, min(_LEAST_HELD_OUT, _MOST_HELD_OUT_SHARE * size)))


def _size(documents: list[str]) -> int:
    return sum(len(document) for document in documents)


def _shuffled_blocks(documents: list[str], block: int) -> tuple[str, ...]:
    text = "".join(documents)
    blocks = [text[start : start + block] for start in range(0, len(text), block)]
    random.Random(_SHUFFLE_SEED).shuffle(blocks)  # noqa: S311 - an order, not a secret
    return tuple(blocks)
