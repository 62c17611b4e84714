"""From what a person types to a model: a preset's name, an architecture file, a model's folder."""

from dataclasses import dataclass
from pathlib import Path

from search_space.architecture import Architecture
from search_space.huggingface.folder import CONFIG_FILE, read_huggingface
from search_space.presets import PRESETS
from search_space.strict import read_architecture

_ARCHITECTURE_FILE = "architecture.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    name: str
    architecture: Architecture


def find_model(text: str) -> NamedModel:
    """A preset, an architecture file, a `config.json` of transformers, or a folder with either.

    ValueError when there is none of them, or the file is no model that can be expressed.
    """
    if text in PRESETS:
        return NamedModel(name=text, architecture=PRESETS[text])
    path = Path(text)
    if path.suffix != ".json" and not _exists(path):
        raise ValueError(
            f"model: '{text}' is neither a preset ({', '.join(PRESETS)}) "
            "nor an architecture file (.json); of a study, give a trial's number too"
        )
    if path.is_dir():
        return NamedModel(name=path.resolve().name, architecture=_read_folder(path))
    if path.name == CONFIG_FILE:
        return NamedModel(name=path.resolve().parent.name, architecture=read_huggingface(path))
    return NamedModel(name=path.stem, architecture=read_architecture(path))


def _read_folder(folder: Path) -> Architecture:
    # What a trainer has saved there since an export is the configuration.
    if (folder / CONFIG_FILE).is_file():
        return read_huggingface(folder)
    if (folder / _ARCHITECTURE_FILE).is_file():
        return read_architecture(folder / _ARCHITECTURE_FILE)
    raise ValueError(f"model: '{folder}' holds neither {CONFIG_FILE} nor {_ARCHITECTURE_FILE}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a text that no file system takes for a name
        return False
