"""Begins an Optuna trial for a given architecture instead of a proposed one."""

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from search_space.architecture import Architecture
from search_space.space.encoding import Parameters, draw, encode
from search_space.space.space_definition import Space
from studies.samplers.delegation import DelegatingSampler


def ask_for(study: Study, space: Space, architecture: Architecture) -> optuna.Trial:
    """Begin a trial of an Optuna study whose parameters are those of an architecture.

    Unlike `Study.enqueue_trial`, this lets no other process begin the trial instead.

    Args:
        study: The study.
        space: The space, which contains the architecture.
        architecture: The architecture.
    """
    parameters = encode(space, architecture)
    assert parameters is not None, "the space contains the architecture"
    sampler = study.sampler
    study.sampler = GivenPointSampler(parameters, sampler)
    try:
        asked = study.ask()
        drawn = draw(space, asked)
    finally:
        study.sampler = sampler
    assert encode(space, drawn) == parameters
    return asked


class GivenPointSampler(DelegatingSampler):
    """A sampler that returns given parameters.

    Another sampler is asked as well, and its answer is ignored: NSGA-II records in a trial to which
    generation it belongs.

    Args:
        parameters: The parameters of every trial.
        other: The sampler of the study.
    """

    def __init__(self, parameters: Parameters, other: BaseSampler) -> None:
        self._parameters = parameters
        self._other = other

    def sampler_for(self, trial: FrozenTrial) -> BaseSampler:
        """Return the sampler of the study."""
        return self._other

    # Optuna types the values of parameters as Any, here and below.
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the given parameters of this space."""
        super().sample_relative(study, trial, search_space)
        return {name: self._parameters[name] for name in search_space}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the given parameter."""
        return self._parameters[param_name]
