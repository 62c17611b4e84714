"""Resolve command-line arguments to models: presets, files, folders, and trials of a study."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hardware.runner import ModelFormat
from nas.inputs.study_argument import find_study
from search_space.architecture import Architecture
from search_space.architecture_file import find_architecture_file, model_name, read_model
from search_space.input_errors import suggest_name
from search_space.input_files import MODEL_BYTES, check_file, exists, is_file, is_folder, real_path
from search_space.preset_models import PRESETS
from search_space.scaling import parse_parameters, scale_architecture, scaling_remark
from studies.analysis import trial_detail
from studies.analysis.trial_detail import TrialDetail
from studies.spec.study_file import shipped_studies
from studies.storage.store import Store

_ONNX_FILE = "model.onnx"
_DESCRIPTION_FILE = "model.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """An architecture, its name, and where it comes from.

    Attributes:
        name: The name of the preset, the stem of the file, the name of the folder, or STUDY-TRIAL;
            the target size is appended if the model was scaled.
        architecture: The architecture, after scaling.
        detail: The trial that it comes from, before scaling; None if it is not from a study.
        file: The architecture file that it was read from or that is in its folder, if any.
        folder: The folder that it was read from, if any; None for a scaled model.
        scaled_from: The architecture before scaling; None if it was not scaled.
        remark: One sentence if the size after scaling is not close to the target size.
    """

    name: str
    architecture: Architecture
    detail: TrialDetail | None = None
    file: Path | None = None
    folder: Path | None = None
    scaled_from: Architecture | None = None
    remark: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file that is measured as it is.

    Attributes:
        path: The absolute path of the file.
        model_format: The format, which determines the runtime.
        context_length: Maximum context length in tokens; None if the runtime accepts any.
    """

    path: Path
    model_format: ModelFormat
    context_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurable:
    """A model to measure: an architecture, which is built for the runtime, or a model file."""

    name: str
    source: Architecture | ModelFile


def find_model(
    text: str, trial: str | None = None, *, storage: str | None = None, scale: str | None = None
) -> ResolvedModel:
    """Resolve arguments to an architecture, and scale it if requested.

    Args:
        text: A preset, an architecture file, a transformers `config.json`, or a folder that
            contains one of these files; with `trial`, a study.
        trial: A trial number or the name of a reference model.
        storage: Database URL; takes precedence over the URL in the study file.
        scale: Target number of parameters, such as `700M`.

    Raises:
        ValueError: The model does not exist, cannot be expressed as an Architecture, or cannot be
            scaled.
    """
    found = _find_unscaled(text) if trial is None else _find_trial(text, trial, storage)
    if scale is None:
        return found
    parameters = parse_parameters(scale)
    scaled = scale_architecture(found.architecture, parameters)
    return ResolvedModel(
        name=f"{found.name}-{scale.lower()}",
        architecture=scaled,
        detail=found.detail,
        file=found.file,
        scaled_from=found.architecture,
        remark=scaling_remark(scaled, parameters),
    )


def find_measurables(texts: Sequence[str], storage: str | None) -> tuple[Measurable, ...]:
    """Resolve each argument to a model to measure.

    Args:
        texts: Presets, architecture files, model folders, ONNX or GGUF files, and trials as
            STUDY:TRIAL.
        storage: Database URL; takes precedence over the URL in the study file.

    Returns:
        One model per argument, in order. Different models with the same name are named by their
        arguments instead.

    Raises:
        ValueError: A model does not exist.
    """
    found = [_find_measurable(text, storage) for text in texts]
    counts = Counter(model.name for model in set(found))
    return tuple(
        model if counts[model.name] == 1 else replace(model, name=text)
        for text, model in zip(texts, found, strict=True)
    )


def _find_unscaled(text: str) -> ResolvedModel:
    if text in PRESETS:
        return ResolvedModel(name=text, architecture=PRESETS[text])
    path = Path(text)
    is_there = exists(path)
    if text.endswith(".toml") or (not is_there and text in shipped_studies()):
        raise ValueError(
            f"trial is missing: '{text}' is a study; specify a trial, such as {text} 0"
        )
    if path.suffix != ".json" and not is_there:
        raise ValueError(
            f"model: '{text}' is neither a preset ({suggest_name(text, list(PRESETS))}) "
            "nor an architecture file (.json); for a study, also give a trial number"
        )
    return ResolvedModel(
        name=model_name(path),
        architecture=read_model(path),
        file=find_architecture_file(path),
        folder=path if is_folder(path) else None,
    )


def _find_trial(study: str, trial: str, storage: str | None) -> ResolvedModel:
    place = find_study(study, storage)
    with Store.open_to_read(place.storage, update=True) as store:
        detail = trial_detail.detail(store, place.name, trial)
    if detail.architecture is None:
        raise ValueError(f"trial: {trial} has no architecture yet")
    return ResolvedModel(
        name=f"{place.name}-{trial}", architecture=detail.architecture, detail=detail
    )


def _find_measurable(text: str, storage: str | None) -> Measurable:
    path = Path(text)
    if text in PRESETS:
        return Measurable(name=text, source=PRESETS[text])
    if path.suffix == ".gguf":
        check_file(path, MODEL_BYTES)
        return Measurable(
            name=path.name, source=ModelFile(path=path.absolute(), model_format="gguf")
        )
    if path.suffix == ".onnx" and not is_folder(path):
        return _onnx(path)
    if path.suffix != ".toml" and exists(path):
        if is_file(path / _ONNX_FILE):
            return _onnx(path / _ONNX_FILE)
        model = find_model(text)
        return Measurable(name=model.name, source=model.architecture)
    study, _, trial = text.rpartition(":")
    if study and trial:
        model = find_model(study, trial, storage=storage)
        return Measurable(name=model.name, source=model.architecture)
    if path.suffix == ".toml" or text in shipped_studies():
        raise ValueError(f"model: '{text}' is a study; specify one of its trials, such as {text}:0")
    if path.suffix == ".json":
        raise ValueError(f"{text}: no such file")
    raise ValueError(
        f"model: '{text}' is neither a preset ({', '.join(PRESETS)}), nor a file (.json, .onnx, "
        ".gguf), nor a model folder, nor a trial of a study (STUDY:TRIAL)"
    )


def _onnx(path: Path) -> Measurable:
    """Return the exported graph at this path, whose context length its description states."""
    # Imports onnx, which takes long.
    from search_space.onnx_files import check_graph, read_description

    check_file(path, MODEL_BYTES)
    description = path.with_name(_DESCRIPTION_FILE)
    # The folder also contains a graph for onnxruntime-genai, which has other inputs.
    if path.name != _ONNX_FILE or not is_file(description):
        raise ValueError(
            f"model: '{path}' is not a {_ONNX_FILE} with a {_DESCRIPTION_FILE} next to it, as "
            "written by `nas export --format onnx`"
        )
    described = read_description(description)
    check_graph(path, described)
    return Measurable(
        name=real_path(path).parent.name,
        source=ModelFile(
            path=path.absolute(), model_format="onnx", context_length=described.context_length
        ),
    )
