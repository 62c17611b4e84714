"""From what a person types to a model: a preset's name, an architecture file, a model's folder."""

from dataclasses import dataclass
from pathlib import Path

from search_space.architecture import Architecture
from search_space.architecture_file import model_name, read_model
from search_space.input_errors import nearest
from search_space.preset_models import PRESETS


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
            f"model: '{text}' is neither a preset ({nearest(text, list(PRESETS))}) "
            "nor an architecture file (.json); of a study, give a trial's number too"
        )
    return NamedModel(name=model_name(path), architecture=read_model(path))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a text that no file system takes for a name
        return False
