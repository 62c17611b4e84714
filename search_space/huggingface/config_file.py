"""The `config.json` of a folder as transformers saves it; nothing that lies there is run."""

from pathlib import Path

from search_space.architecture import Architecture
from search_space.huggingface.config_reader import Config
from search_space.huggingface.configuration import architecture_of
from search_space.strict import parse_json, read_text

CONFIG_FILE = "config.json"


def read_config(path: Path) -> Config:
    """What a `config.json` says, given the file or its folder; ValueError where it is no JSON."""
    file = path / CONFIG_FILE if path.is_dir() else path
    return parse_json(dict[str, object], read_text(file), str(file))


def read_huggingface(path: Path) -> Architecture:
    """The Architecture of a `config.json` or of its folder; ValueError as `architecture_of`."""
    return architecture_of(read_config(path), str(path))
