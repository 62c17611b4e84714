"""Text to train on and text held out of it: the standard library's sources or the user's files."""

import hashlib
import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from evaluators.text.documents import PYTHON as PYTHON
from evaluators.text.documents import CorpusName as CorpusName
from evaluators.text.documents import check_corpus as check_corpus
from evaluators.text.documents import read_documents
from evaluators.text.overlap import Separated, separated

_TRAINING_BLOCK = 32_768
# Smaller, so that the few windows that are scored come from many documents.
_HELD_OUT_BLOCK = 4_096
_SECTION = 16_384
_MIXING_SEED = 20_000

_LEAST_TEXT = 16_384
_LEAST_SCORED = 2_048
_HELD_OUT_SHARE = 0.03
_LEAST_HELD_OUT = 131_072
_MOST_HELD_OUT_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Two sides of a text that share no document, each in mixed blocks.

    Blocks end anywhere in a line; they are to be read in order, as far as a budget goes.
    identity: SHA-256 over the documents; another order or other file names leave it alone.
    copies: documents that are not trained on, being near copies of held-out ones.
    unscored_bytes: of held-out text that is not scored, since the text to train on has it too.
    """

    training: tuple[str, ...]
    held_out: tuple[str, ...]
    identity: str
    copies: int = 0
    unscored_bytes: int = 0


def read_corpus(name: CorpusName) -> Corpus:
    """The documents of `name`, as `read_documents` finds them, in two sides.

    The documents with the smallest hashes are held out until they make up a few percent of the
    text; one too large for that is first cut into sections at blank lines. Then the sides are
    separated, so that no passage of 200 characters is in both. Raises ValueError for what is
    missing, malformed or too little.
    """
    texts = _distinct(read_documents(name))
    documents = _distinct(
        section for text in texts for section in _sections(text, longest=_held_out_size(texts))
    )
    _check_size(name, documents)
    split = _split(documents)
    if name in (PYTHON, (PYTHON,)):
        # Its copies are left out by name, and what is left on both sides is below 2 % of the
        # held-out text: it stays, so that scores go on comparing with those already stored.
        sides = Separated(held_out=documents[:split], training=documents[split:])
    else:
        sides = separated(documents[:split], documents[split:])
        _check_sides(name, sides)
    return Corpus(
        training=_mixed(sides.training, _TRAINING_BLOCK),
        held_out=_mixed(sides.held_out, _HELD_OUT_BLOCK),
        identity=hashlib.sha256(
            "".join(map(_digest, sides.held_out + sides.training)).encode()
        ).hexdigest(),
        copies=sides.copies,
        unscored_bytes=sides.unscored_bytes,
    )


def overlap_note(corpus: Corpus) -> str | None:
    """What was done about text on both sides, as a sentence; None where there was none."""
    if not corpus.copies and not corpus.unscored_bytes:
        return None
    return (
        f"{corpus.copies:,} documents are not trained on, near copies of held-out ones; "
        f"{corpus.unscored_bytes:,} bytes of held-out text are not scored, as others have them"
    )


def _check_size(name: CorpusName, documents: list[str]) -> None:
    size = _size(documents)
    if size < _LEAST_TEXT or len(documents) < 2:
        raise ValueError(
            f"corpus: {_shown(name)} holds {size:,} characters of text, copies left out, and at "
            f"least {_LEAST_TEXT:,} are needed"
        )


def _check_sides(name: CorpusName, sides: Separated) -> None:
    training, scored = _size(sides.training), _size(sides.held_out)
    if training < _LEAST_TEXT / 2 or scored < _LEAST_SCORED:
        raise ValueError(
            f"corpus: {_shown(name)} repeats itself so much that, held apart, {training:,} "
            f"characters are left to train on and {scored:,} to score, and at least "
            f"{_LEAST_TEXT // 2:,} and {_LEAST_SCORED:,} are needed"
        )


def _shown(name: CorpusName) -> str:
    return f"'{name}'" if isinstance(name, str) else str(list(name))


def _sections(text: str, longest: int) -> Iterator[str]:
    """The text itself, or sections of it when it is above `longest` characters."""
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
    """Exact duplicates and blank ones removed, in the order of their hashes."""
    by_digest = {_digest(document): document for document in documents if document.strip()}
    return [document for _, document in sorted(by_digest.items())]


def _digest(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()


def _split(documents: list[str]) -> int:
    """How many documents, from the first, are held out; the last one never is."""
    wanted = _held_out_size(documents)
    sizes = itertools.accumulate(len(document) for document in documents[:-1])
    reached = (index for index, size in enumerate(sizes, start=1) if size >= wanted)
    return next(reached, len(documents) - 1)


def _held_out_size(documents: list[str]) -> int:
    size = _size(documents)
    return int(max(_HELD_OUT_SHARE * size, min(_LEAST_HELD_OUT, _MOST_HELD_OUT_SHARE * size)))


def _size(documents: list[str]) -> int:
    return sum(len(document) for document in documents)


def _mixed(documents: list[str], block: int) -> tuple[str, ...]:
    text = "".join(documents)
    blocks = [text[start : start + block] for start in range(0, len(text), block)]
    random.Random(_MIXING_SEED).shuffle(blocks)  # noqa: S311 - an order, not a secret
    return tuple(blocks)
