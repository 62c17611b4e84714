"""Architectures read from files: our own JSON, and configurations of transformers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from search_space.architecture import Architecture, architecture_hash
from search_space.huggingface.configuration import CONFIG_FILE, read_huggingface
from search_space.input_errors import format_value
from search_space.input_files import exists, is_file, is_folder, read_text, real_path
from search_space.strict import load_json, parse_strict

_ARCHITECTURE_FILE = "architecture.json"


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
    data = load_json(read_text(path), source)
    if isinstance(data, Mapping) and "model_type" in data:
        raise ValueError(
            f"{source}: this is a configuration of transformers; convert it with nas import"
        )
    if not isinstance(data, Mapping) or "architecture" not in data:
        return parse_strict(Architecture, data, source)
    exported = parse_strict(_ExportedArchitecture, data, source)
    found = architecture_hash(exported.architecture)
    if exported.hash != found:
        raise ValueError(
            f"{source}: hash: {format_value(exported.hash)} is not {found}, the hash of the "
            "architecture; to use an edited architecture, keep only the value of the field "
            "architecture"
        )
    return exported.architecture


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
