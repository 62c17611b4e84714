"""Models that a study file names by their paths: read once, and known by a name from then on."""

import json
from collections.abc import Mapping
from pathlib import Path

from search_space.architecture import to_json
from search_space.architecture_file import model_name, read_model
from search_space.preset_models import PRESETS


def with_models(data: Mapping[str, object], folder: Path, source: str) -> dict[str, object]:
    """A study file's data, with names where it has paths, and `models` that says what they are.

    folder: what paths are relative to. A path at which nothing is stays in `models`: a study that
    was begun knows the model already. ValueError, beginning with `source`, for a file that is no
    model and for two models of one name.
    """
    if "models" in data:
        raise ValueError(f"{source}: models is not a field; references and device.reference are")
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
    """found: what has been named so far, as plain data; a path for what is not there."""

    def __init__(self, folder: Path, source: str) -> None:
        self.found: dict[str, object] = {}
        self._folder = folder
        self._source = source
        self._paths: dict[str, Path] = {}

    def name(self, text: object, field: str) -> object:
        """The name of a path; what is none comes back, to be judged with the other fields."""
        if not isinstance(text, str) or text in PRESETS or not self._is_path(text):
            return text
        path = self._folder / text
        name = model_name(path)
        if name.isdecimal():
            raise ValueError(f"{self._source}: {field}: '{text}' has the name of a trial, a number")
        other = self._paths.setdefault(name, path)
        if other != path or name in PRESETS:
            owner = "a preset" if name in PRESETS else f"'{other}'"
            raise ValueError(f"{self._source}: {field}: '{text}' has the name of {owner}")
        self.found[name] = str(path)
        if path.exists():
            try:
                self.found[name] = json.loads(to_json(read_model(path)))
            except ValueError as error:
                raise ValueError(f"{self._source}: {field}: {error}") from None
        return name

    def _is_path(self, text: str) -> bool:
        try:
            return "/" in text or text.endswith(".json") or (self._folder / text).exists()
        except (OSError, ValueError):  # a text that no file system takes for a name
            return False
