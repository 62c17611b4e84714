"""The models that a study names, and the one that its candidates are timed in alternation with."""

import math

from evaluators.speed.built_model import inexpressible
from search_space.architecture import Architecture
from search_space.costs import parameter_counts
from search_space.preset_models import PRESETS
from search_space.space.space_definition import Space, parameter_range
from studies.spec.study_spec import StudySpec


def model_of(spec: StudySpec, name: str) -> Architecture:
    """A preset, or what the study file names; ValueError where that is not there."""
    model = spec.models.get(name, PRESETS.get(name))
    assert model is not None
    if isinstance(model, str):
        raise ValueError(f"references: '{model}' is not there, and the study was not begun with it")
    return model


def check_models(spec: StudySpec) -> None:
    """ValueError for a file that the study names and that is not there."""
    for name in spec.models:
        model_of(spec, name)


def with_known_models(spec: StudySpec, begun: StudySpec) -> StudySpec:
    """The same study, with what it was begun with in the place of files that are not there."""
    models = {
        name: begun.models.get(name, model) if isinstance(model, str) else model
        for name, model in spec.models.items()
    }
    return spec.model_copy(update={"models": models})


def paired_reference(spec: StudySpec) -> str:
    """The model that the study names, or the preset nearest in size to what it searches.

    What slows a model slows one of its size alike, so the ratio of the two is steady. Nearest is
    meant in the logarithm of the parameters, to the geometric middle of what the space reaches
    within its rules. Raises ValueError for a model that the runtime cannot express.
    """
    model_format, named = spec.device.model_format, spec.device.reference
    if named is not None:
        reason = inexpressible(model_of(spec, named), model_format)
        if reason is not None:
            raise ValueError(f"device.reference: '{named}' is not possible there, {reason}")
        return named
    middle = _middle(spec.space)
    return min(
        (name for name, model in PRESETS.items() if inexpressible(model, model_format) is None),
        key=lambda name: abs(math.log(parameter_counts(PRESETS[name]).total) - middle),
    )


def with_reference(spec: StudySpec) -> StudySpec:
    """The same study, its reference named."""
    return _named(spec, paired_reference(spec))


def with_known_reference(spec: StudySpec, begun: StudySpec) -> StudySpec:
    """The same study, its reference the one that it was begun with, unless it names another.

    Another release may have presets that are nearer in size.
    """
    known = begun.device.reference
    return spec if spec.device.reference is not None or known is None else _named(spec, known)


def _named(spec: StudySpec, reference: str) -> StudySpec:
    device = spec.device.model_copy(update={"reference": reference})
    return spec.model_copy(update={"device": device})


def _middle(space: Space) -> float:
    """Of the logarithms of the fewest and the most parameters."""
    reached, rule = parameter_range(space), space.rules.parameters
    least, most = rule or (reached.least, reached.most)
    return (math.log(max(least, reached.least)) + math.log(min(most, reached.most))) / 2
