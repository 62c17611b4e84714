"""What `nas measure` takes: an architecture to build for a runtime, or a model file as it is."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hardware.runner import ModelFormat
from nas.inputs.model_argument import find_subject
from nas.inputs.named_model import find_model
from search_space.architecture import Architecture
from search_space.preset_models import PRESETS
from studies.spec.study_file import shipped_studies

_ONNX_FILE = "model.onnx"
_DESCRIPTION_FILE = "model.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """context_length: the most tokens that it is made for; None where its runtime takes any."""

    path: Path
    model_format: ModelFormat
    context_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurable:
    name: str
    source: Architecture | ModelFile


def find_measurables(texts: Sequence[str], storage: str | None) -> tuple[Measurable, ...]:
    """One for each text: a preset, an architecture file, a model's folder, an ONNX or GGUF file, or
    a trial of a study as STUDY:TRIAL.

    storage: the database of studies, instead of the study file's. ValueError for what there is not.
    """
    found = [_find(text, storage) for text in texts]
    counts = Counter(model.name for model in set(found))
    return tuple(
        model if counts[model.name] == 1 else replace(model, name=text)
        for text, model in zip(texts, found, strict=True)
    )


def _find(text: str, storage: str | None) -> Measurable:
    path = Path(text)
    if text in PRESETS:
        return Measurable(name=text, source=PRESETS[text])
    if path.suffix == ".gguf":
        return Measurable(
            name=path.name, source=ModelFile(path=_file(path).absolute(), model_format="gguf")
        )
    if path.suffix == ".onnx":
        return _onnx(_file(path))
    if path.is_dir() and (path / _ONNX_FILE).is_file():
        return _onnx(path / _ONNX_FILE)
    if path.exists() and path.suffix != ".toml":
        model = find_model(text)
        return Measurable(name=model.name, source=model.architecture)
    study, _, trial = text.rpartition(":")
    if study and trial:
        subject = find_subject(study, trial, storage=storage)
        return Measurable(name=subject.name, source=subject.architecture)
    if path.suffix == ".toml" or text in shipped_studies():
        raise ValueError(f"model: '{text}' is a study, which has many; name one, as in {text}:0")
    if path.suffix == ".json":
        raise ValueError(f"{text}: no such file")
    raise ValueError(
        f"model: '{text}' is neither a preset ({', '.join(PRESETS)}), nor a file (.json, .onnx, "
        ".gguf), nor a model's folder, nor a trial of a study (STUDY:TRIAL)"
    )


def _file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    return path


def _onnx(path: Path) -> Measurable:
    """A graph with the inputs that ours have, of which its description tells."""
    description = path.with_name(_DESCRIPTION_FILE)
    # Beside it lies a graph for onnxruntime-genai, with other inputs.
    if path.name != _ONNX_FILE or not description.is_file():
        raise ValueError(
            f"model: '{path}' is not a {_ONNX_FILE} with a {_DESCRIPTION_FILE} beside it, as "
            "`nas export --format onnx` writes it"
        )
    try:
        context_length = json.loads(description.read_text())["context_length"]
    except (OSError, ValueError, LookupError, TypeError):
        raise ValueError(f"{description}: is not the description of a model") from None
    return Measurable(
        name=path.resolve().parent.name,
        source=ModelFile(path=path.absolute(), model_format="onnx", context_length=context_length),
    )
