"""The documents that a corpus is made of: text files, lines of JSONL, rows of Parquet."""

import glob
import importlib.util
import json
import os
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

# A word, a path or a pattern; or several of them.
CorpusName: TypeAlias = str | tuple[str, ...]

PYTHON = "python"

# Tests repeat the library, and the tables of `encodings` repeat each other: near duplicates on both
# sides would make the held-out text easier than it is.
_NOT_PROSE = frozenset(
    {"test", "tests", "idle_test", "encodings", "site-packages", "dist-packages", "__pycache__"}
)
_FIELD = "text"


def check_corpus(name: CorpusName) -> None:
    """ValueError for what is not there, or not to be read here; no file is opened."""
    if name == ():
        raise ValueError("corpus: [] is not one or more names")
    for each in _names(name):
        if each != PYTHON:
            _check_readable(_paths(_source(each)))


def read_documents(name: CorpusName) -> list[str]:
    """The texts of what `name` names, in no order that means anything.

    Each name is `python` (the standard library's own sources), a file, a folder (read with all its
    folders, hidden ones apart) or a pattern such as `docs/**/*.md`. In a `.jsonl` file each line is
    a document, a text or an object with a field `text`; in a `.parquet` file each row is one. Any
    other file is one UTF-8 text. `NAME#body` takes the field `body` in place of `text`. Raises
    ValueError, which names the file and the line, for what is missing or malformed.
    """
    return [document for each in _names(name) for document in _documents(each)]


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


def _documents(name: str) -> Iterator[str]:
    if name == PYTHON:
        yield from map(_text, _standard_library())
        return
    source = _source(name)
    paths = _paths(source)
    _check_readable(paths)
    for path in paths:
        match path.suffix.lower():
            case ".jsonl":
                yield from _lines(path, source.field)
            case ".parquet":
                yield from _rows(path, source.field)
            case _:
                yield _text(path)


def _paths(source: _Source) -> list[Path]:
    """The files that a path or a pattern stands for; nothing of what a link to a folder holds."""
    place = source.place
    if not place:
        raise ValueError("corpus: '' is not the name of a file or a folder")
    if _exists(place):
        path = Path(place).expanduser()
        return [path] if path.is_file() else sorted(_files(path))
    if place == PYTHON:
        raise ValueError(f"corpus: '{place}#{source.field}' is not possible, it has no fields")
    if not glob.has_magic(place):
        raise ValueError(
            f"corpus: '{place}' is not '{PYTHON}' and no file or folder of that name exists"
        )
    try:
        paths = sorted(path for path in _matches(Path(place).expanduser()) if path.is_file())
    except (ValueError, OSError, RuntimeError) as error:
        raise ValueError(f"corpus: '{place}' is not a pattern of paths ({error})") from None
    if not paths:
        raise ValueError(f"corpus: '{place}' matches no file")
    return paths


def _exists(place: str) -> bool:
    try:
        return Path(place).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long for a name; the home of nobody; a NUL
        return False


def _matches(pattern: Path) -> Iterator[Path]:
    """What the pattern matches, hidden files and folders apart unless it names them itself."""
    fixed = next(n for n, part in enumerate(pattern.parts) if glob.has_magic(part))
    folder, rest = Path(*pattern.parts[:fixed]), pattern.parts[fixed:]
    named = {part for part in rest if part.startswith(".")}
    # In place of glob.glob, which follows links and so walks a loop of them almost for ever.
    for path in folder.glob(str(Path(*rest))):
        parts = path.relative_to(folder).parts
        if named or not any(part.startswith(".") for part in parts):
            yield path


def _standard_library() -> list[Path]:
    folder = Path(sysconfig.get_path("stdlib"))
    paths = [path for path in _files(folder, _NOT_PROSE) if path.suffix == ".py"]
    if not paths:
        raise ValueError(
            f"corpus: '{PYTHON}' needs the standard library's sources, and {folder} has none; "
            "name a text file or a folder instead"
        )
    return paths


def _files(folder: Path, left_out: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Every file below, but for hidden ones and those in a folder whose name is in `left_out`."""
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if name not in left_out and not name.startswith(".")]
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if path.is_file())


def _check_readable(paths: Iterable[Path]) -> None:
    rows = next((path for path in paths if path.suffix.lower() == ".parquet"), None)
    if rows is not None and importlib.util.find_spec("datasets") is None:
        raise ValueError(
            f"corpus: {rows} is read with datasets, which is not installed; it comes with "
            "pip install 'hybrid-lm-search[parquet]'"
        )


def _refuse(error: OSError) -> NoReturn:
    raise ValueError(f"corpus: {error.filename} cannot be read ({error.strerror})") from error


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"corpus: {path} is not UTF-8 text (byte {error.start:,} cannot be decoded)"
        ) from error
    except OSError as error:
        _refuse(error)


def _lines(path: Path, field: str) -> Iterator[str]:
    # Not splitlines: a text may hold other separators of lines, JSON Lines has one.
    for number, line in enumerate(_text(path).removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number:,},"
        try:
            found = json.loads(line)
        except ValueError as error:
            what = error.msg.lower() if isinstance(error, json.JSONDecodeError) else str(error)
            raise ValueError(f"corpus: {where} is not JSON ({what})") from None
        except RecursionError:
            raise ValueError(f"corpus: {where} is not JSON of which a text is read") from None
        if isinstance(found, dict):
            if field not in found:
                known = ", ".join(map(repr, found)) or "nothing"
                raise ValueError(_without_field(where, field, known))
            found = found[field]
        yield _checked(found, where, field)


def _rows(path: Path, field: str) -> Iterator[str]:
    # Installed by who wants it, and seconds to import.
    import datasets

    try:
        # As a stream: loading it would leave a copy of the file in a cache in the user's home.
        table = datasets.load_dataset(
            "parquet", data_files=glob.escape(str(path.absolute())), split="train", streaming=True
        )
        if field not in table.column_names:
            known = ", ".join(map(repr, table.column_names))
            raise ValueError(_without_field(str(path), field, known))
        for number, row in enumerate(table.select_columns([field]), start=1):
            yield _checked(row[field], f"{path}, row {number:,},", field)
    except (ValueError, OSError) as error:
        if str(error).startswith("corpus: "):
            raise
        reason = str(error).partition("\n")[0]
        raise ValueError(f"corpus: {path} is not a table in Parquet ({reason})") from error


def _without_field(where: str, field: str, known: str) -> str:
    return (
        f"corpus: {where} has no field '{field}' but {known[:200]}; a name that ends in #FIELD "
        "takes another"
    )


def _checked(found: object, where: str, field: str) -> str:
    """The text itself, if it is one that can be written."""
    if not isinstance(found, str):
        raise ValueError(f"corpus: {where} is not a text, nor an object with one as '{field}'")
    if any("\ud800" <= letter <= "\udfff" for letter in found):
        raise ValueError(f"corpus: {where} holds half of a UTF-16 pair, which is no character")
    return found
