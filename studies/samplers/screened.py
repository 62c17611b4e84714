"""Screening with known costs: several proposals of another sampler, of which the best one is kept.

Nothing is known about the outcome of a proposal, so it is taken to be distributed like those that
were observed, normally with their mean and standard deviation. The proposal with the largest
expected hypervolume improvement is evaluated.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from studies.samplers.earlier_trials import EarlierTrials, reference_point
from studies.samplers.hypervolume_improvement import FrontLevels, expected_improvement, front_levels
from studies.samplers.point_sampler import PointSampler
from studies.samplers.search_problem import Identity, Parameters, SearchProblem, identity

# Proposals are drawn at most so many times as are needed, since some are illegal or known.
_MOST_ATTEMPTS = 2


class ScreenedSampler(PointSampler):
    """Proposes the most promising of several proposals of another sampler, by their costs.

    Example:
        problem = problem_of_parameters(space, {1: parameters_of})
        sampler = ScreenedSampler(problem, TPESampler(multivariate=True, seed=0), seed=0)
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)

    Args:
        problem: The points of the search, and their costs. Its features are not used.
        base: The other sampler. It must propose different points when it is asked several times
            for the same trial, as `TPESampler` does.
        seed: The seed of all random choices but those of the other sampler.
        startup_trials: The number of random trials at the beginning.
        proposals: The number of different proposals that are compared.

    Raises:
        ValueError: One of the numbers is less than 1.
    """

    def __init__(
        self,
        problem: SearchProblem,
        base: BaseSampler,
        *,
        seed: int = 0,
        startup_trials: int = 10,
        proposals: int = 16,
    ) -> None:
        super().__init__(problem, seed=seed, startup_trials=startup_trials)
        if proposals < 1:
            raise ValueError(f"proposals: {proposals} is not at least 1")
        self._base = base
        self._proposals = proposals

    def reseed_rng(self) -> None:
        """Make later random choices differ from those of copies of both samplers."""
        super().reseed_rng()
        self._base.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Call the other sampler, which may prepare the trial."""
        self._base.before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Call the other sampler, which may learn from the trial."""
        self._base.after_trial(study, trial, state, values)

    def propose(self, study: Study, trial: FrozenTrial, earlier: EarlierTrials) -> Parameters:
        """Return the best new proposal of the other sampler, or a random point without any."""
        points = self._drawn(study, trial, earlier)
        if not points:
            return self._random_point(earlier)
        costs, _ = earlier.predicted_costs(points)
        worth = expected_improvement(
            _front(earlier),
            costs,
            np.full(len(points), earlier.outcomes.mean()),
            np.full(len(points), earlier.outcomes.std()),
        )
        return points[int(np.argmax(worth * earlier.feasibility(points)))]

    def _drawn(self, study: Study, trial: FrozenTrial, earlier: EarlierTrials) -> list[Parameters]:
        # Trials from before a change of the space may lead the other sampler to another space.
        space = {
            name: distribution
            for name, distribution in self._base.infer_relative_search_space(study, trial).items()
            if self._problem.space.get(name) == distribution
        }
        found: dict[Identity, Parameters] = {}
        for _ in range(_MOST_ATTEMPTS * self._proposals):
            if len(found) == self._proposals:
                break
            together = self._base.sample_relative(study, trial, space)
            point = self._problem.legal(
                {
                    name: together[name]
                    if name in together
                    else self._alone(study, trial, name, distribution)
                    for name, distribution in self._problem.space.items()
                }
            )
            if point is not None and (key := identity(point)) not in earlier.seen:
                found.setdefault(key, point)
        return list(found.values())

    # Optuna types the values of parameters as Any.
    def _alone(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """Return the value of a parameter that the other sampler does not draw with others."""
        if not distribution.single():
            return self._base.sample_independent(study, trial, name, distribution)
        if isinstance(distribution, CategoricalDistribution):
            return distribution.choices[0]
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        return distribution.low


def _front(earlier: EarlierTrials) -> FrontLevels:
    members = earlier.front()
    return front_levels(
        earlier.costs[members],
        earlier.outcomes[members],
        reference_point(earlier.costs, earlier.outcomes),
    )
