"""Text to train on and text held out of it: the standard library's sources or the user's files."""

import hashlib
import itertools
import os
import random
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

PYTHON = "python"

# Tests repeat the library, and the tables of `encodings` repeat each other: near duplicates on both
# sides would make the held-out text easier than it is.
_NOT_PROSE = frozenset(
    {"test", "tests", "idle_test", "encodings", "site-packages", "dist-packages", "__pycache__"}
)

_TRAINING_BLOCK = 32_768
# Smaller, so that the few windows that are scored come from many documents.
_HELD_OUT_BLOCK = 4_096
_SECTION = 16_384
_MIXING_SEED = 20_000

_LEAST_TEXT = 16_384
_HELD_OUT_SHARE = 0.03
_LEAST_HELD_OUT = 131_072
_MOST_HELD_OUT_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Two sides of a text that share no document, each in mixed blocks.

    Blocks end anywhere in a line; they are to be read in order, as far as a budget goes.
    identity: SHA-256 over the documents; another order or other file names leave it alone.
    """

    training: tuple[str, ...]
    held_out: tuple[str, ...]
    identity: str


def check_corpus(name: str) -> None:
    """ValueError when `name` is neither `python` nor an existing file or folder; reads nothing."""
    try:
        found = name == PYTHON or Path(name).expanduser().exists()
    except (OSError, RuntimeError):  # too long for a name; the home of nobody
        found = False
    if not found:
        raise ValueError(
            f"corpus: '{name}' is not '{PYTHON}' and no file or folder of that name exists"
        )


def read_corpus(name: str) -> Corpus:
    """The standard library's own sources for `python`, else the UTF-8 text at that path.

    A folder is read with all its folders, hidden ones apart; each file is a document. The
    documents with the smallest hashes are held out until they make up a few percent of the text;
    one too large for that is first cut into sections at blank lines. Raises ValueError for what is
    missing, empty or not text.
    """
    check_corpus(name)
    texts = _distinct(_texts(name))
    documents = _distinct(
        section for text in texts for section in _sections(text, longest=_held_out_size(texts))
    )
    size = _size(documents)
    if size < _LEAST_TEXT or len(documents) < 2:
        raise ValueError(
            f"corpus: '{name}' holds {size:,} characters of text, copies left out, and at least "
            f"{_LEAST_TEXT:,} are needed"
        )
    split = _split(documents)
    return Corpus(
        training=_mixed(documents[split:], _TRAINING_BLOCK),
        held_out=_mixed(documents[:split], _HELD_OUT_BLOCK),
        identity=hashlib.sha256("".join(map(_digest, documents)).encode()).hexdigest(),
    )


def _texts(name: str) -> list[str]:
    if name == PYTHON:
        folder = Path(sysconfig.get_path("stdlib"))
        paths = [path for path in _files(folder, _NOT_PROSE) if path.suffix == ".py"]
        if not paths:
            raise ValueError(
                f"corpus: '{PYTHON}' needs the standard library's sources, and {folder} has none; "
                "name a text file or a folder instead"
            )
    else:
        path = Path(name).expanduser()
        paths = [path] if path.is_file() else list(_files(path))
    return [_read(path) for path in paths]


def _files(folder: Path, left_out: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Every file below, but for hidden ones and those in a folder whose name is in `left_out`."""
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if name not in left_out and not name.startswith(".")]
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if path.is_file())


def _refuse(error: OSError) -> NoReturn:
    raise ValueError(f"corpus: {error.filename} cannot be read ({error.strerror})") from error


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"corpus: {path} is not UTF-8 text (byte {error.start:,} cannot be decoded)"
        ) from error
    except OSError as error:
        _refuse(error)


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
