"""The model that all candidates of a study are timed in alternation with."""

import math

from evaluators.model_file import inexpressible
from search_space.costs import parameter_counts
from search_space.presets import PRESETS
from search_space.space import Space, parameter_range
from studies.spec import StudySpec


def paired_reference(spec: StudySpec) -> str:
    """The preset that the study names, or the one nearest in size to what it searches.

    What slows a model slows one of its size alike, so the ratio of the two is steady. Nearest is
    meant in the logarithm of the parameters, to the geometric middle of what the space reaches
    within its rules. Raises ValueError for a preset that the runtime cannot express.
    """
    model_format, named = spec.device.model_format, spec.device.reference
    if named is not None:
        reason = inexpressible(PRESETS[named], model_format)
        if reason is not None:
            raise ValueError(f"device.reference: '{named}' is not possible there, {reason}")
        return named
    middle = _middle(spec.space)
    return min(
        (name for name, model in PRESETS.items() if inexpressible(model, model_format) is None),
        key=lambda name: abs(math.log(parameter_counts(PRESETS[name]).total) - middle),
    )


def with_reference(spec: StudySpec) -> StudySpec:
    """The same study, its reference named, so that presets of later releases do not change it."""
    named = spec.device.model_copy(update={"reference": paired_reference(spec)})
    return spec.model_copy(update={"device": named})


def _middle(space: Space) -> float:
    """Of the logarithms of the fewest and the most parameters."""
    reached, rule = parameter_range(space), space.rules.parameters
    least, most = rule or (reached.least, reached.most)
    return (math.log(max(least, reached.least)) + math.log(min(most, reached.most))) / 2
