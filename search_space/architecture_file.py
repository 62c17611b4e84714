"""Architectures out of files: our own JSON, and configurations of transformers."""

from pathlib import Path

from search_space.architecture import Architecture
from search_space.huggingface.config_file import CONFIG_FILE, read_huggingface
from search_space.strict import read_architecture

_ARCHITECTURE_FILE = "architecture.json"


def model_name(path: Path) -> str:
    """What a model is called by its file, or by the folder that it is in."""
    if path.name == CONFIG_FILE:
        return path.resolve().parent.name
    return path.stem if path.suffix == ".json" else path.resolve().name


def architecture_file(path: Path) -> Path | None:
    """Our own file at this place or in this folder, which may be older than what else is there."""
    file = path / _ARCHITECTURE_FILE if path.is_dir() else path
    return None if file.name == CONFIG_FILE or not file.is_file() else file


def read_model(path: Path) -> Architecture:
    """Of an architecture file, a `config.json` of transformers, or a folder with either.

    ValueError, one sentence, where there is none, or no Architecture expresses it.
    """
    if path.is_dir():
        return _read_folder(path)
    return read_huggingface(path) if path.name == CONFIG_FILE else read_architecture(path)


def _read_folder(folder: Path) -> Architecture:
    # What a trainer has saved there since an export is the configuration.
    if (folder / CONFIG_FILE).is_file():
        return read_huggingface(folder)
    if (folder / _ARCHITECTURE_FILE).is_file():
        return read_architecture(folder / _ARCHITECTURE_FILE)
    raise ValueError(f"model: '{folder}' holds neither {CONFIG_FILE} nor {_ARCHITECTURE_FILE}")
