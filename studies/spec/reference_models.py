"""The models that a study names, and the one that its candidates are timed interleaved with."""

import math

from evaluators.speed.built_model import unsupported_by_format
from search_space.architecture import Architecture
from search_space.costs import parameter_counts
from search_space.preset_models import PRESETS
from search_space.space.space_definition import Space, parameter_range
from studies.spec.study_spec import StudySpec


def model_of(spec: StudySpec, name: str) -> Architecture:
    """Return the model that a study calls by this name.

    Raises:
        ValueError: The study file gives a path that does not exist.
    """
    model = spec.models.get(name, PRESETS.get(name))
    assert model is not None
    if isinstance(model, str):
        raise ValueError(
            f"{_field_of(spec, name)}: '{model}' does not exist, and no copy of it is stored with "
            "the study"
        )
    return model


def check_models(spec: StudySpec) -> None:
    """Check that every model of a study exists.

    Raises:
        ValueError: The study file gives a path that does not exist.
    """
    for name in spec.models:
        model_of(spec, name)


def with_stored_models(spec: StudySpec, stored: StudySpec) -> StudySpec:
    """Return the study with missing model files replaced by the models stored when it was started.

    Args:
        spec: The study as its file describes it now.
        stored: The study as it is stored in its database.
    """
    models = {
        name: stored.models.get(name, model) if isinstance(model, str) else model
        for name, model in spec.models.items()
    }
    return spec.model_copy(update={"models": models})


def paired_reference(spec: StudySpec) -> str:
    """Return the name of the model that candidates are timed interleaved with.

    It is the model that the study names, or else the preset whose size is nearest to the middle of
    the space. Load on the machine slows models of similar size alike, so the ratio of their times
    is stable. Sizes are compared by the logarithm of the number of parameters, and the middle is
    the geometric mean of the smallest and the largest size that the rules of the space allow.

    Raises:
        ValueError: The runner cannot express the model that the study names.
    """
    model_format, named = spec.device.model_format, spec.device.reference
    if named is not None:
        reason = unsupported_by_format(model_of(spec, named), model_format)
        if reason is not None:
            raise ValueError(
                f"device.reference: '{named}' is not supported by the runner "
                f"'{spec.device.runner}': {reason}"
            )
        return named
    middle = _middle(spec.space)
    return min(
        (
            name
            for name, model in PRESETS.items()
            if unsupported_by_format(model, model_format) is None
        ),
        key=lambda name: abs(math.log(parameter_counts(PRESETS[name]).total) - middle),
    )


def with_reference(spec: StudySpec) -> StudySpec:
    """Return the study with its paired reference filled in."""
    return _named(spec, paired_reference(spec))


def with_stored_reference(spec: StudySpec, stored: StudySpec) -> StudySpec:
    """Return the study with the paired reference that it was started with, unless it names another.

    Another release may have a preset that is nearer in size.

    Args:
        spec: The study as its file describes it now.
        stored: The study as it is stored in its database.
    """
    known = stored.device.reference
    return spec if spec.device.reference is not None or known is None else _named(spec, known)


def _field_of(spec: StudySpec, name: str) -> str:
    """Return the field of the study file that names a model."""
    if name in spec.references:
        return f"references[{spec.references.index(name)}]"
    return "device.reference"


def _named(spec: StudySpec, reference: str) -> StudySpec:
    device = spec.device.model_copy(update={"reference": reference})
    return spec.model_copy(update={"device": device})


def _middle(space: Space) -> float:
    """Return the mean of the logarithms of the smallest and the largest number of parameters."""
    reached, rule = parameter_range(space), space.rules.parameters
    least, most = rule or (reached.least, reached.most)
    return (math.log(max(least, reached.least)) + math.log(min(most, reached.most))) / 2
