"""The documents of a corpus: text files, lines of JSONL and rows of Parquet."""

import glob
import importlib.util
import itertools
import json
import os
import stat
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

from hardware.progress import Say, ignore_text
from search_space.input_files import (
    UnreadableFile,
    check_file,
    exists,
    is_file,
    is_generated,
    read_file,
    reason_of,
)

CorpusName: TypeAlias = str | tuple[str, ...]
"""`python`, a path or a pattern, or several of these; see `read_documents`."""

PYTHON = "python"

# Tests repeat the library, and the tables of `encodings` repeat each other. Near duplicates in both
# training and held-out text would make the held-out text look easier than it is.
_NOT_PROSE = frozenset(
    {"test", "tests", "idle_test", "encodings", "site-packages", "dist-packages", "__pycache__"}
)
_FIELD = "text"

# A file is held in memory. Larger corpora consist of several files.
_MOST_BYTES = 8_000_000_000
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
        if each != PYTHON:
            _check_readable(_paths(_source(each)))


def read_documents(name: CorpusName, say: Say = ignore_text) -> list[str]:
    """Return the texts of a corpus, in an arbitrary order.

    In a `.jsonl` file each line is a document: a string or an object with a field `text`. In a
    `.parquet` file each row is one, with a column `text`. Any other file is one document in UTF-8.
    `NAME#body` reads the field `body` instead of `text`.

    Args:
        name: One or more names. Each is `python` (the sources of the standard library), a file, a
            folder (read recursively, without hidden files and folders) or a pattern such as
            `docs/**/*.md`.
        say: Receives a line about each file, unless there is only one.

    Raises:
        ValueError: A file is missing or malformed; the message names the file and the line.
    """
    return [document for each in _names(name) for document in _documents(each, say)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    place: str
    field: str


def _names(name: CorpusName) -> tuple[str, ...]:
    return (name,) if isinstance(name, str) else name


def _source(name: str) -> _Source:
    place, mark, field = name.rpartition("#")
    if mark and field and not _exists(name):
        return _Source(place=place, field=field)
    return _Source(place=name, field=_FIELD)


def _documents(name: str, say: Say) -> Iterator[str]:
    if name == PYTHON:
        yield from map(_text, _counted(_standard_library(), say))
        return
    source = _source(name)
    paths = _paths(source)
    _check_readable(paths)
    for path in _counted(paths, say):
        match path.suffix.lower():
            case ".jsonl":
                yield from _lines(path, source.field)
            case ".parquet":
                yield from _rows(path, source.field)
            case _:
                yield _text(path)


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
        _check_file(path)
    elif is_generated(found):
        raise ValueError(f"corpus: {path} is generated by the system, and contains no text")


def _check_file(path: Path) -> None:
    try:
        check_file(path, _MOST_BYTES)
    except UnreadableFile as error:
        raise ValueError(f"corpus: {path} cannot be read ({error.reason})") from None


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
    if rows is not None and importlib.util.find_spec("datasets") is None:
        raise ValueError(
            f"corpus: {rows} requires the package datasets, which is not installed; install it "
            "with pip install 'hybrid-lm-search[parquet]'"
        )


def _refuse(error: OSError) -> NoReturn:
    raise ValueError(f"corpus: {error.filename} cannot be read ({error.strerror})") from error


def _text(path: Path) -> str:
    try:
        return read_file(path, _MOST_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"corpus: {path} is not UTF-8 text (byte {error.start:,} cannot be decoded)"
        ) from error
    except UnreadableFile as error:
        raise ValueError(f"corpus: {path} cannot be read ({error.reason})") from None


def _lines(path: Path, field: str) -> Iterator[str]:
    # Not splitlines: a text may contain other line separators, and JSON Lines has only this one.
    for number, line in enumerate(_text(path).removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number:,},"
        try:
            value = json.loads(line)
        except ValueError as error:
            what = error.msg.lower() if isinstance(error, json.JSONDecodeError) else str(error)
            raise ValueError(f"corpus: {where} is not JSON ({what})") from None
        except RecursionError:
            raise ValueError(f"corpus: {where} is JSON that is nested too deeply") from None
        if isinstance(value, dict):
            if field not in value:
                raise ValueError(_missing_field(where, field, value))
            value = value[field]
        yield _checked(value, where, field)


def _rows(path: Path, field: str) -> Iterator[str]:
    # An optional dependency, which takes seconds to import.
    import datasets

    _check_file(path)
    try:
        # Streamed, because loading would leave a copy of the file in a cache in the user's home.
        table = datasets.load_dataset(
            "parquet", data_files=glob.escape(str(path.absolute())), split="train", streaming=True
        )
        if field not in table.column_names:
            raise ValueError(_missing_field(str(path), field, table.column_names))
        for number, row in enumerate(table.select_columns([field]), start=1):
            yield _checked(row[field], f"{path}, row {number:,},", field)
    except (ValueError, OSError) as error:
        if str(error).startswith("corpus: "):
            raise
        reason = str(error).partition("\n")[0]
        raise ValueError(f"corpus: {path} is not a Parquet table ({reason})") from error


def _missing_field(where: str, field: str, fields: Iterable[str]) -> str:
    existing = ", ".join(map(repr, fields)) or "none"
    return (
        f"corpus: {where} has no field '{field}' (its fields: {existing[:200]}); append #FIELD to "
        "the name to read another field"
    )


def _checked(value: object, where: str, field: str) -> str:
    """Return the value, or raise ValueError if it is not a text that UTF-8 can encode."""
    if not isinstance(value, str):
        raise ValueError(
            f"corpus: {where} is neither a string nor an object with a string as '{field}'"
        )
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(
            f"corpus: {where} contains an unpaired UTF-16 surrogate, which is not a character"
        )
    return value
