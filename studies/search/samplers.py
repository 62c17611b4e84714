"""The table of samplers, seeded so that a study resumes as if it had never been interrupted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from studies.samplers.delegation import DelegatingSampler
from studies.samplers.evolution import EvolutionSampler
from studies.samplers.front_mutation import FrontMutationSampler
from studies.samplers.known_costs import KnownCostsSampler
from studies.samplers.screened import ScreenedSampler
from studies.samplers.search_problem import SearchProblem
from studies.spec.study_tables import NamedSampler

_FromSeed: TypeAlias = Callable[[int], BaseSampler]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerEntry:
    """A sampler that a study file can name.

    Attributes:
        description: How it chooses candidates, in one line.
        make: Returns the sampler, given a seed, the number of random trials at the beginning, and
            the search problem of the study.
    """

    description: str
    make: Callable[[int, int, SearchProblem], BaseSampler]


SAMPLERS: Mapping[NamedSampler, SamplerEntry] = {
    "known-costs": SamplerEntry(
        description="the largest expected improvement of the front, from known costs and a model "
        "of the loss",
        make=lambda seed, startup_trials, problem: KnownCostsSampler(
            problem, seed=seed, startup_trials=startup_trials
        ),
    ),
    "tpe": SamplerEntry(
        description="Optuna's tree-structured Parzen estimator, with all parameters together",
        make=lambda seed, startup_trials, _: _tpe(seed, startup_trials),
    ),
    "nsga2": SamplerEntry(
        description="Optuna's genetic algorithm NSGA-II",
        make=lambda seed, startup_trials, _: NSGAIISampler(
            seed=seed, population_size=startup_trials
        ),
    ),
    "gp": SamplerEntry(
        description="Optuna's Gaussian process over the parameters",
        make=lambda seed, startup_trials, _: GPSampler(seed=seed, n_startup_trials=startup_trials),
    ),
    "random": SamplerEntry(
        description="random candidates",
        make=lambda seed, *_: RandomSampler(seed=seed),
    ),
    "evolution": SamplerEntry(
        description="regularised evolution: mutations of the best of the youngest candidates",
        make=lambda seed, startup_trials, problem: EvolutionSampler(
            problem, seed=seed, startup_trials=startup_trials
        ),
    ),
    "front-mutation": SamplerEntry(
        description="mutations of the front with suitable known costs, without a model of the loss",
        make=lambda seed, startup_trials, problem: FrontMutationSampler(
            problem, seed=seed, startup_trials=startup_trials
        ),
    ),
    "screened-tpe": SamplerEntry(
        description="the proposal of `tpe`, among several, that is most promising by known costs",
        make=lambda seed, startup_trials, problem: ScreenedSampler(
            problem,
            _tpe(seed, startup_trials),
            seed=seed,
            startup_trials=startup_trials,
        ),
    ),
}


def make_sampler(
    kind: NamedSampler, *, startup_trials: int, seed: int, problem: SearchProblem
) -> BaseSampler:
    """Return a sampler for an Optuna study with several objectives.

    The parameters of a trial depend only on the seed, the number of the trial, the trials before
    it and what the problem predicts. They depend neither on when the study was resumed nor on the
    process that asks.

    Args:
        kind: The kind of sampler.
        startup_trials: The number of random trials before it learns from results.
        seed: The seed of the study.
        problem: The points of the search and what is known about them. Optuna's own samplers
            ignore it.
    """
    make = SAMPLERS[kind].make
    return seeded_by_trial(lambda seed: make(seed, startup_trials, problem), seed)


def seeded_by_trial(from_seed: Callable[[int], BaseSampler], seed: int) -> BaseSampler:
    """Return a sampler whose random choices depend only on a seed and the number of the trial.

    A sampler that is seeded once restarts its random numbers when a study is resumed, and draws the
    same candidates again. The samplers of two processes that share a study would do the same.

    Args:
        from_seed: Returns a new sampler, which is used for one trial.
        seed: The seed.
    """
    return _SeededByTrial(from_seed, seed)


def _tpe(seed: int, startup_trials: int) -> BaseSampler:
    # By default, TPE draws each parameter on its own if there are several objectives. Layers that
    # matter together then repeat: 77 of 120 layouts were distinct, compared with 110 when
    # parameters are drawn together.
    return TPESampler(
        seed=seed, n_startup_trials=startup_trials, multivariate=True, constant_liar=True
    )


class _SeededByTrial(DelegatingSampler):
    """A sampler that is created again for each trial, with a seed derived from its number."""

    def __init__(self, from_seed: _FromSeed, seed: int) -> None:
        self._from_seed = from_seed
        self._seed = seed
        self._number = 0
        self._current = self._for_number(0)

    def sampler_for(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number, self._current = trial.number, self._for_number(trial.number)
        return self._current

    def _for_number(self, number: int) -> BaseSampler:
        (seed,) = np.random.SeedSequence([self._seed, number]).generate_state(1)
        return self._from_seed(int(seed))
