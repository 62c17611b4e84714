"""Resolve the argument of `nas import` to a configuration of transformers."""

from collections.abc import Mapping
from pathlib import Path

from search_space.huggingface.config_reader import Config
from search_space.huggingface.configuration import CONFIG_FILE, model_type_of, read_config
from search_space.input_errors import format_value
from search_space.input_files import UnreadableFile, is_file, is_folder
from search_space.preset_models import PRESETS


def find_config(path: Path) -> Config:
    """Read the configuration that an argument names.

    Args:
        path: A `config.json`, or the folder that contains it.

    Raises:
        ValueError: There is no such file, or it is something else. If another command takes it, the
            message names that command.
    """
    file = path / CONFIG_FILE if is_folder(path) else path
    try:
        config = read_config(file)
    except UnreadableFile as error:
        if error.is_missing:
            raise ValueError(_missing(path)) from None
        raise
    except ValueError as error:
        if file.suffix == ".json":
            raise
        raise ValueError(f"path: '{path}' is not a {CONFIG_FILE} of transformers") from error
    if "model_type" not in config:
        raise ValueError(_without_model_type(file, config))
    try:
        model_type_of(config, str(file))
    except ValueError:
        if isinstance(config.get("text_config"), Mapping):
            raise ValueError(
                f"{file}: model_type: {format_value(config['model_type'])} is not a language model "
                f"but contains one; save the value of text_config as a {CONFIG_FILE} of its own, "
                "and import that"
            ) from None
        raise
    return config


def _missing(path: Path) -> str:
    if str(path) in PRESETS:
        return f"path: '{path}' is a preset, which every command takes by its name"
    if is_file(path / "architecture.json"):
        return (
            f"path: '{path}' contains no {CONFIG_FILE}, but an architecture.json, which needs no "
            f"import; see nas show {path}"
        )
    if is_folder(path):
        return f"path: '{path}' contains no {CONFIG_FILE}"
    if path.suffix == ".json":
        return f"{path}: no such file"
    return (
        f"path: '{path}' is neither a {CONFIG_FILE} nor a folder on this machine; nas downloads no "
        f"models, so download the {CONFIG_FILE} first"
    )


def _without_model_type(file: Path, config: Config) -> str:
    if config.keys() & {"architecture", "layers"}:
        return f"path: '{file}' is an architecture file, which needs no import; see nas show {file}"
    return (
        f"{file}: model_type is missing, so this is not the {CONFIG_FILE} of a transformers model"
    )
