"""Architectures read from files: our own JSON, and configurations of transformers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import ClassVar

from search_space.architecture import Architecture, architecture_hash
from search_space.huggingface.configuration import CONFIG_FILE, read_huggingface
from search_space.input_errors import format_value
from search_space.input_files import exists, is_file, is_folder, read_text, real_path
from search_space.strict import load_json, parse_strict

LIST_SUFFIX = ".jsonl"
"""The suffix of files with one architecture per line."""

_ARCHITECTURE_FILE = "architecture.json"
# A line that `nas export` or `nas show --json` wrote contains up to 30 kB of provenance.
_LIST_BYTES = 30_000_000
_MOST_LISTED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedArchitecture:
    """An architecture in a file that may contain several.

    Attributes:
        architecture: The architecture.
        place: The file, and for one of several architectures the line, counted from 1.
    """

    architecture: Architecture
    place: str


def model_name(path: Path) -> str:
    """Return the name of a model: its file name without `.json`, or the name of its folder.

    A `config.json` is named after the folder that contains it.
    """
    if path.name == CONFIG_FILE:
        return real_path(path).parent.name
    return path.stem if path.suffix == ".json" else real_path(path).name


def find_architecture_file(path: Path) -> Path | None:
    """Return the architecture file at this path or in this folder, or None.

    It may be older than a `config.json` in the same folder; see `read_model`.
    """
    file = path / _ARCHITECTURE_FILE if is_folder(path) else path
    return None if file.name == CONFIG_FILE or not is_file(file) else file


def read_model(path: Path) -> Architecture:
    """Read an architecture from any of the supported files.

    Args:
        path: An architecture file, a `config.json` of transformers, or a folder that contains one
            of them. In a folder that contains both, the `config.json` is read.

    Raises:
        ValueError: There is no such file, or no Architecture can express the model.
    """
    if is_folder(path):
        return _read_folder(path)
    return read_huggingface(path) if path.name == CONFIG_FILE else read_architecture(path)


def read_architecture(path: Path) -> Architecture:
    """Read an architecture from a JSON file that `to_json` or `nas export` wrote.

    `nas export` writes the architecture together with its hash, which must match, and with its
    provenance, which is ignored here.

    Raises:
        ValueError: The file cannot be read, or it does not contain a valid architecture.
    """
    source = str(path)
    return _architecture_of(load_json(read_text(path), source), _ExportedArchitecture, source)


def read_architectures(path: Path) -> tuple[ListedArchitecture, ...]:
    """Read the architectures of a file, in its order.

    Args:
        path: A file in which each line that is not empty is an architecture, if its name ends with
            `.jsonl`; otherwise, a file or folder with one architecture, see `read_model`. An
            architecture may be the field `architecture` of a table, as `nas export` and
            `nas show --json` write it. Other fields are ignored, but a hash must match.

    Raises:
        ValueError: The file cannot be read, contains no architecture or more than 1,000, or one of
            them is not valid.
    """
    if path.suffix != LIST_SUFFIX:
        if is_folder(path) or path.name == CONFIG_FILE:
            architecture = read_model(path)
        else:
            architecture = _parse_architecture(read_text(path), str(path))
        return (ListedArchitecture(architecture=architecture, place=str(path)),)
    text = read_text(path, _LIST_BYTES)
    # Counted first, because a list of millions of short lines would take gigabytes.
    count = sum(1 for _ in _filled_lines(text))
    if not count:
        raise ValueError(f"{path}: the file is empty; each line must be an architecture")
    if count > _MOST_LISTED:
        raise ValueError(f"{path}: {count:,} architectures are more than {_MOST_LISTED:,}")
    return tuple(_listed(line, f"{path}, line {n}") for n, line in _filled_lines(text))


def _filled_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line that is not empty, with its number."""
    # Only a line feed ends a line: JSON text may contain other separators, such as U+2028.
    for number, line in enumerate(StringIO(text, newline="\n"), 1):
        if line.strip():
            yield number, line.removesuffix("\n")


def _listed(text: str, place: str) -> ListedArchitecture:
    try:
        return ListedArchitecture(architecture=_parse_architecture(text, place), place=place)
    except ValueError as error:
        # The parser counts lines from the beginning of this one.
        raise ValueError(str(error).replace(": line 1, column", ": column", 1)) from None


def _parse_architecture(text: str, source: str) -> Architecture:
    """Parse an architecture, or a table with a field `architecture`; see `read_architectures`."""
    if not text.strip():
        raise ValueError(f"{source}: the file is empty; it must contain an architecture")
    return _architecture_of(load_json(text, source), _ShownArchitecture, source)


def _architecture_of(
    data: object, table: "type[_ExportedArchitecture | _ShownArchitecture]", source: str
) -> Architecture:
    """Return an architecture from parsed JSON: the whole of it, or the field of a table."""
    if isinstance(data, Mapping) and "model_type" in data:
        raise ValueError(
            f"{source}: this is a configuration of transformers; convert it with nas import"
        )
    if not isinstance(data, Mapping) or "architecture" not in data:
        return parse_strict(Architecture, data, source)
    named = parse_strict(table, data, source)
    found = architecture_hash(named.architecture)
    if named.hash is not None and named.hash != found:
        raise ValueError(
            f"{source}: hash: {format_value(named.hash)} is not {found}, the hash of the "
            "architecture; to use an edited architecture, keep only the value of the field "
            "architecture"
        )
    return named.architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShownArchitecture:
    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "ignore", "strict": True}
    architecture: Architecture
    hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ExportedArchitecture:
    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    architecture: Architecture
    hash: str
    provenance: dict[str, object]


def _read_folder(folder: Path) -> Architecture:
    # After an export, a trainer may have saved a newer configuration to the same folder.
    if exists(folder / CONFIG_FILE):
        return read_huggingface(folder)
    if exists(folder / _ARCHITECTURE_FILE):
        return read_architecture(folder / _ARCHITECTURE_FILE)
    raise ValueError(f"model: '{folder}' holds neither {CONFIG_FILE} nor {_ARCHITECTURE_FILE}")
