"""Models that a study file gives by path, which are read once and then known by name."""

import json
from collections.abc import Mapping
from pathlib import Path

from search_space.architecture import to_json
from search_space.architecture_file import model_name, read_model
from search_space.input_files import exists
from search_space.preset_models import PRESETS


def with_models(data: Mapping[str, object], folder: Path, source: str) -> dict[str, object]:
    """Replace the model paths in a study file by names, and add the models under `models`.

    A path that does not exist is kept in `models`, because a study that was started earlier has the
    model in its database.

    Args:
        data: The plain data of the study file.
        folder: The folder that paths are relative to.
        source: The name of the study file, which error messages start with.

    Returns:
        The data with a name for each path, and with the models by name.

    Raises:
        ValueError: A file is not a model, or two models have the same name.
    """
    if "models" in data:
        raise ValueError(
            f"{source}: models is not a known field; use references or device.reference"
        )
    models = _Models(folder, source)
    named = dict(data)
    references, device = data.get("references"), data.get("device")
    if isinstance(references, list):
        named["references"] = [
            models.name(text, f"references[{index}]") for index, text in enumerate(references)
        ]
    if isinstance(device, Mapping) and "reference" in device:
        named["device"] = {
            **device,
            "reference": models.name(device["reference"], "device.reference"),
        }
    return named | {"models": models.found}


class _Models:
    """The models named so far.

    found: Each model by name, as plain data, or its path if there is no such file.
    """

    def __init__(self, folder: Path, source: str) -> None:
        self.found: dict[str, object] = {}
        self._folder = folder
        self._source = source
        self._paths: dict[str, Path] = {}

    def name(self, text: object, field: str) -> object:
        """Return the name for a path; anything else is returned as it is, to be validated later."""
        if not isinstance(text, str) or text in PRESETS or not self._is_path(text):
            return text
        path = self._folder / text
        name = model_name(path)
        if name.isdecimal():
            raise ValueError(
                f"{self._source}: {field}: '{text}' has a number as its name, which is reserved "
                "for trials"
            )
        other = self._paths.setdefault(name, path)
        if other != path or name in PRESETS:
            owner = "a preset" if name in PRESETS else f"'{other}'"
            raise ValueError(f"{self._source}: {field}: '{text}' has the same name as {owner}")
        self.found[name] = str(path)
        if exists(path):
            try:
                self.found[name] = json.loads(to_json(read_model(path)))
            except ValueError as error:
                raise ValueError(f"{self._source}: {field}: {error}") from None
        return name

    def _is_path(self, text: str) -> bool:
        return "/" in text or text.endswith(".json") or exists(self._folder / text)
