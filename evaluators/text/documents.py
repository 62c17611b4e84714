"""The documents of a corpus: text files, lines of JSONL, rows of Parquet and of datasets.

They are read one after the other, so that a corpus may be larger than the memory.
"""

import glob
import itertools
import os
import stat
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

from evaluators.text.dataset import (
    DATASET_PREFIX,
    check_dataset,
    check_package,
    read_dataset,
)
from evaluators.text.text_field import checked_text
from evaluators.text.text_files import (
    check_text_file,
    documents_of,
    read_lines,
    read_rows,
    read_text_file,
)
from hardware.progress import Say, ignore_text
from search_space.input_files import (
    exists,
    is_file,
    is_generated,
    reason_of,
)

CorpusName: TypeAlias = str | tuple[str, ...]
"""`python`, a path, a pattern or a dataset, or several of these; see `read_documents`."""

PYTHON = "python"

MOST_CHARACTERS = 128_000_000
"""How much of a large corpus is used, in characters: about 30 million tokens."""

# Tests repeat the library, and the tables of `encodings` repeat each other. Near duplicates in both
# training and held-out text would make the held-out text look easier than it is.
_NOT_PROSE = frozenset(
    {"test", "tests", "idle_test", "encodings", "site-packages", "dist-packages", "__pycache__"}
)
_FIELD = "text"

# The list of files is held in memory, and looking at a million of them takes seconds.
_MOST_FILES = 1_000_000


def check_corpus(name: CorpusName) -> None:
    """Check that the files of a corpus exist and can be read here, without reading any of them.

    Args:
        name: The corpus; see `read_documents`.

    Raises:
        ValueError: A name matches no file, or the package that reads a file is not installed.
    """
    if name == ():
        raise ValueError("corpus: [] is not a list of one or more names")
    for each in _names(name):
        source = _source(each)
        if source.is_dataset:
            check_dataset(source.place)
        elif each != PYTHON:
            _check_readable(_paths(source))


def read_documents(
    name: CorpusName, say: Say = ignore_text, most_streamed: int = MOST_CHARACTERS
) -> Iterator[str]:
    """Yield the texts of a corpus, in an arbitrary order.

    In a `.jsonl` file each line is a document: a string or an object with a field `text`. In a
    `.parquet` file each row is one, with a column `text`. Any other file is one document in UTF-8.
    `NAME#body` reads the field `body` instead of `text`. All but `.parquet` files may be compressed
    with gzip, as in `.jsonl.gz`. A document of more than a million characters is cut into sections
    at blank lines.

    Args:
        name: One or more names. Each is `python` (the sources of the standard library), a file, a
            folder (read recursively, without hidden files and folders), a pattern such as
            `docs/**/*.md`, or a dataset; see `read_dataset`.
        say: Receives a line about each file, unless there is only one.
        most_streamed: How many characters of each dataset are read.

    Raises:
        ValueError: A file is missing or malformed; the message names the file and the line. Or a
            dataset cannot be read.
    """
    for each in _names(name):
        for document in _documents(each, say, most_streamed):
            yield from documents_of(document)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    place: str
    field: str

    @property
    def is_dataset(self) -> bool:
        return self.place.startswith(DATASET_PREFIX)


def _names(name: CorpusName) -> tuple[str, ...]:
    return (name,) if isinstance(name, str) else name


def _source(name: str) -> _Source:
    place, mark, field = name.rpartition("#")
    if mark and field and not _exists(name):
        return _Source(place=place, field=field)
    return _Source(place=name, field=_FIELD)


def _documents(name: str, say: Say, most_streamed: int) -> Iterator[str]:
    if name == PYTHON:
        for path in _counted(_standard_library(), say):
            yield from read_text_file(path)
        return
    source = _source(name)
    if source.is_dataset:
        rows = read_dataset(source.place, source.field, most_streamed, say)
        for number, text in enumerate(rows, start=1):
            yield checked_text(text, f"'{source.place}', row {number:,},", source.field)
        return
    paths = _paths(source)
    _check_readable(paths)
    for path in _counted(paths, say):
        is_compressed = path.suffix.lower() == ".gz"
        match (path.with_suffix("") if is_compressed else path).suffix.lower():
            case ".jsonl":
                yield from read_lines(path, source.field)
            case ".parquet" if not is_compressed:
                yield from read_rows(path, source.field)
            case _:
                yield from read_text_file(path)


def _counted(paths: Sequence[Path], say: Say) -> Iterator[Path]:
    """Yield the paths, and report the number of each unless there is only one."""
    for number, path in enumerate(paths, start=1):
        if len(paths) > 1:
            say(f"reading the corpus: file {number:,} of {len(paths):,}")
        yield path


def _paths(source: _Source) -> list[Path]:
    """Return the files of a path or a pattern; links to folders inside it are not followed."""
    place = source.place
    if not place:
        raise ValueError("corpus: '' is not the name of a file or folder")
    if _exists(place):
        path = Path(place).expanduser()
        _check_kind(path)
        return sorted(_bounded(_files(path), path)) if path.is_dir() else [path]
    if place == PYTHON:
        raise ValueError(
            f"corpus: '{place}#{source.field}' is not possible: '{PYTHON}' has no fields"
        )
    if not glob.has_magic(place):
        raise ValueError(
            f"corpus: '{place}' is not '{PYTHON}', and no file or folder has that name"
        )
    try:
        matches = (path for path in _matches(Path(place).expanduser()) if is_file(path))
        matched = list(itertools.islice(matches, _MOST_FILES + 1))
    except (ValueError, OSError, RuntimeError) as error:
        raise ValueError(f"corpus: '{place}' is not a valid pattern of paths ({error})") from None
    paths = sorted(_bounded(matched, place))
    if not paths:
        raise ValueError(f"corpus: '{place}' matches no file")
    return paths


def _exists(place: str) -> bool:
    try:
        return exists(Path(place).expanduser())
    except (OSError, RuntimeError, ValueError):  # an unknown user's home
        return False


def _check_kind(path: Path) -> None:
    """Refuse what is neither a file nor a folder, and what the kernel generates."""
    try:
        found = path.stat()
    except OSError as error:
        raise ValueError(f"corpus: {path} cannot be read ({reason_of(error)})") from None
    if not stat.S_ISDIR(found.st_mode):
        check_text_file(path)
    elif is_generated(found):
        raise ValueError(f"corpus: {path} is generated by the system, and contains no text")


def _bounded(paths: Iterable[Path], place: str | Path) -> Iterator[Path]:
    """Yield the paths, and raise ValueError if there are too many."""
    for number, path in enumerate(paths, start=1):
        if number > _MOST_FILES:
            raise ValueError(
                f"corpus: '{place}' contains more than {_MOST_FILES:,} files; name a smaller "
                "folder, or fewer and larger files"
            )
        yield path


def _matches(pattern: Path) -> Iterator[Path]:
    """Yield what a pattern matches, without hidden files and folders that it does not name."""
    fixed = next(n for n, part in enumerate(pattern.parts) if glob.has_magic(part))
    folder, rest = Path(*pattern.parts[:fixed]), pattern.parts[fixed:]
    named = {part for part in rest if part.startswith(".")}
    # glob.glob follows links to folders, so that it would walk a loop of them almost for ever.
    for path in folder.glob(str(Path(*rest))):
        parts = path.relative_to(folder).parts
        if named or not any(part.startswith(".") for part in parts):
            yield path


def _standard_library() -> list[Path]:
    folder = Path(sysconfig.get_path("stdlib"))
    paths = [path for path in _files(folder, _NOT_PROSE) if path.suffix == ".py"]
    if not paths:
        raise ValueError(
            f"corpus: '{PYTHON}' requires the standard library's sources, but {folder} has none; "
            "name a text file or a folder instead"
        )
    return paths


def _files(folder: Path, excluded: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Yield every file below a folder, except hidden ones and those in folders named `excluded`."""
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if name not in excluded and not name.startswith(".")]
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if is_file(path))


def _check_readable(paths: Iterable[Path]) -> None:
    rows = next((path for path in paths if path.suffix.lower() == ".parquet"), None)
    if rows is not None:
        check_package(rows)


def _refuse(error: OSError) -> NoReturn:
    raise ValueError(f"corpus: {error.filename} cannot be read ({error.strerror})") from error
