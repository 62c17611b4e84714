"""The samplers of simulated searches: those of study files, and `known-costs` without its parts.

The costs of `learned-costs` are predicted like the loss, and its limits are not estimated. The
features of `plain-features` are the parameters of the space. `never-explores` has no trials that
explore, and the random points of `random-start` need not differ from each other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from studies.samplers.earlier_trials import EarlierTrials
from studies.samplers.known_costs import KnownCostsSampler
from studies.samplers.outcome_model import OutcomeModel
from studies.samplers.point_sampler import PointSampler
from studies.samplers.search_problem import Parameters, SearchProblem, problem_of_parameters
from studies.search.samplers import SAMPLERS, make_sampler, seeded_by_trial

_Numbers = NDArray[np.float64]
_NEVER = 10**9


class LearnedCost:
    """A predictor of a cost that uses the same model as the loss.

    It is a Gaussian process over the same features, fitted to the finished trials.
    """

    def __init__(self, problem: SearchProblem, index: int) -> None:
        self._problem = problem
        self._index = index

    def __call__(
        self, points: Sequence[Parameters], finished: Sequence[FrozenTrial]
    ) -> tuple[_Numbers, _Numbers]:
        """Return the means and standard deviations of the cost of points, (N,) each."""
        if not finished:
            return np.zeros(len(points)), np.zeros(len(points))
        model = OutcomeModel(
            self._problem.feature_table([each.params for each in finished]),
            np.array([each.values[self._index] for each in finished]),
            np.zeros(len(finished)),
            np.random.default_rng(0),
        )
        return model.predict(self._problem.feature_table(points))


class _RandomStart(KnownCostsSampler):
    """Begins with random points that need not differ from each other."""

    def _random_point(self, earlier: EarlierTrials) -> Parameters:
        return PointSampler._random_point(self, earlier)


def _learned_costs(problem: SearchProblem) -> SearchProblem:
    costs = {index: LearnedCost(problem, index) for index in problem.costs}
    return replace(problem, costs=costs, feasibility=lambda points, _: np.ones(len(points)))


def _parameters_as_features(problem: SearchProblem) -> SearchProblem:
    plain = problem_of_parameters(problem.space, problem.costs)
    return replace(problem, features=plain.features)


VARIANTS: Mapping[str, Callable[[SearchProblem, int, int], BaseSampler]] = {
    "learned-costs": lambda problem, startup_trials, seed: KnownCostsSampler(
        _learned_costs(problem), startup_trials=startup_trials, seed=seed
    ),
    "plain-features": lambda problem, startup_trials, seed: KnownCostsSampler(
        _parameters_as_features(problem), startup_trials=startup_trials, seed=seed
    ),
    "never-explores": lambda problem, startup_trials, seed: KnownCostsSampler(
        problem, startup_trials=startup_trials, seed=seed, explore_every=_NEVER
    ),
    "random-start": lambda problem, startup_trials, seed: _RandomStart(
        problem, startup_trials=startup_trials, seed=seed
    ),
}
"""The variants by name. Each is made from a problem, the number of random trials, and a seed."""

NAMES = (*SAMPLERS, *VARIANTS)


def sampler_named(name: str, problem: SearchProblem, startup_trials: int, seed: int) -> BaseSampler:
    """Return a sampler of study files, or a variant.

    Raises:
        ValueError: No sampler has this name.
    """
    if name in VARIANTS:
        variant = VARIANTS[name]
        return seeded_by_trial(lambda seed: variant(problem, startup_trials, seed), seed)
    for kind in SAMPLERS:
        if kind == name:
            return make_sampler(kind, startup_trials=startup_trials, seed=seed, problem=problem)
    raise ValueError(f"{name!r} is not one of {', '.join(NAMES)}")
