"""A sampler that passes every question of Optuna on to another one."""

import abc
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class DelegatingSampler(BaseSampler):
    """A sampler that does what another sampler does, except where a subclass overrides it."""

    @abc.abstractmethod
    def sampler_for(self, trial: FrozenTrial) -> BaseSampler:
        """Return the other sampler, which may differ between trials."""

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Call the other sampler, which may prepare the trial."""
        self.sampler_for(trial).before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Call the other sampler, which may learn from the trial."""
        self.sampler_for(trial).after_trial(study, trial, state, values)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the space of the other sampler."""
        return self.sampler_for(trial).infer_relative_search_space(study, trial)

    # Optuna types the values of parameters as Any, here and below.
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters that the other sampler chooses together."""
        return self.sampler_for(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the parameter that the other sampler chooses."""
        return self.sampler_for(trial).sample_independent(
            study, trial, param_name, param_distribution
        )
