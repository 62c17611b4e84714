"""From what a person types to a model: a preset's name, or an architecture file."""

from dataclasses import dataclass
from pathlib import Path

from search_space.architecture import Architecture
from search_space.presets import PRESETS
from search_space.strict import read_architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    name: str
    architecture: Architecture


def find_model(text: str) -> NamedModel:
    """ValueError when there is neither such a preset nor such a file, or the file is no model."""
    if text in PRESETS:
        return NamedModel(name=text, architecture=PRESETS[text])
    path = Path(text)
    if path.suffix != ".json" and not _exists(path):
        raise ValueError(
            f"model: '{text}' is neither a preset ({', '.join(PRESETS)}) "
            "nor an architecture file (.json); of a study, give a trial's number too"
        )
    return NamedModel(name=path.stem, architecture=read_architecture(path))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a text that no file system takes for a name
        return False
