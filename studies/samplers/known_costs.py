"""A sampler for studies in which all objectives but one are known before a trial runs.

Each proposal maximises the expected hypervolume improvement over the observed front: the costs come
from predictors, and the remaining objective, the outcome, from a Gaussian process over features of
the parameters. So only points that may move the front are evaluated.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import FrozenTrial

from studies.samplers.earlier_trials import EarlierTrials, reference_point
from studies.samplers.hypervolume_improvement import FrontLevels, expected_improvement, front_levels
from studies.samplers.outcome_model import OutcomeModel
from studies.samplers.point_sampler import PointSampler, child_of, random_points
from studies.samplers.search_problem import Parameters, SearchProblem, identity

_Numbers = NDArray[np.float64]

# Random points of which one is chosen at the beginning.
_START_CHOICES = 30
_DRAWS = 8
_RANDOM_POINTS = 150
_CHILDREN = 150
_PARENTS = 20
_CLIMBS = 2
_CLIMBERS = 5
_STEPS = 15


class KnownCostsSampler(PointSampler):
    """Proposes the point with the largest expected hypervolume improvement.

    The first trials are random points that differ from each other. Later, every
    `explore_every`-th trial is the point among random ones whose outcome is least certain. No point
    is proposed twice while others are left.

    Example:
        problem = problem_of_parameters(space, {1: parameters_of})
        study = optuna.create_study(
            directions=["minimize", "minimize"], sampler=KnownCostsSampler(problem, seed=0)
        )

    Args:
        problem: The points of the search, and their predictable objectives.
        seed: The seed of all random choices.
        startup_trials: The number of random trials before the first model.
        explore_every: Every trial with a number divisible by this explores.
    """

    def __init__(
        self,
        problem: SearchProblem,
        *,
        seed: int = 0,
        startup_trials: int = 10,
        explore_every: int = 8,
    ) -> None:
        super().__init__(problem, seed=seed, startup_trials=startup_trials)
        self._explore_every = explore_every

    def _random_point(self, earlier: EarlierTrials) -> Parameters:
        """Return the random point that differs most from those that have an outcome, or will.

        The model learns that a feature matters only if the first points differ in it.
        """
        points, are_likely = self._random_choices(earlier, _START_CHOICES)
        features = self._problem.feature_table(points)
        spread = features.std(axis=0)
        known = [each.params for each in (*earlier.finished, *earlier.running)]
        if not known:
            return points[int(np.argmax(are_likely))]
        differences = features[:, None] - self._problem.feature_table(known)[None]
        distances = np.square(differences / np.where(spread > 0, spread, 1.0)).sum(axis=-1)
        return points[int(np.argmax(are_likely * distances.min(axis=1)))]

    def propose(self, study: Study, trial: FrozenTrial, earlier: EarlierTrials) -> Parameters:
        """Return the best point by a model of the earlier trials, or one that explores."""
        proposal = _Proposal(self._problem, earlier, self._generator)
        explores = trial.number % self._explore_every == 0
        return proposal.least_certain() if explores else proposal.best()


class _Proposal:
    """The search for the next point, with a model of what was observed so far."""

    def __init__(
        self, problem: SearchProblem, earlier: EarlierTrials, generator: np.random.Generator
    ) -> None:
        self._problem = problem
        self._earlier = earlier
        self._generator = generator
        running = [each.params for each in earlier.running]
        self._points = [*(each.params for each in earlier.finished), *running]
        self._costs = earlier.costs
        if running:
            self._costs = np.vstack([self._costs, earlier.predicted_costs(running)[0]])
        features = problem.feature_table(self._points)
        noise = np.array([problem.noise(each) for each in earlier.finished])
        self._model = OutcomeModel(features[: len(noise)], earlier.outcomes, noise, generator)
        # A running trial counts as if its outcome were the expected one.
        self._fronts = self._drawn_fronts(self._model.draw(features, _DRAWS, generator))
        self._shifts = generator.standard_normal((_DRAWS, self._costs.shape[1]))
        self._expected = self._model.predict(features)[0]

    def _drawn_fronts(self, drawn: _Numbers) -> list[FrontLevels]:
        """Return the front of the trials without violations, for each draw of the outcomes."""
        costs = self._costs
        reference = reference_point(costs, drawn.mean(axis=0))
        allowed = np.ones(len(costs), dtype=bool)
        allowed[: len(self._earlier.violations)] = self._earlier.violations == 0
        return [front_levels(costs[allowed], outcomes[allowed], reference) for outcomes in drawn]

    def best(self) -> Parameters:
        """Return the point with the largest expected improvement that was found."""
        pool = random_points(self._problem, _RANDOM_POINTS, self._earlier.seen, self._generator)
        taken = {identity(point) for point in pool} | self._earlier.seen
        for child in self._children():
            key = identity(child)
            if key not in taken:
                taken.add(key)
                pool.append(child)
        worth = self._worth(pool)
        for _ in range(_CLIMBS):
            steps = [
                self._problem.mutate(pool[index], self._generator)
                for index in np.argsort(-worth)[:_CLIMBERS]
                for _ in range(_STEPS)
            ]
            fresh = {identity(point): point for point in steps if point is not None}
            fresh = {key: point for key, point in fresh.items() if key not in taken}
            if not fresh:
                break
            taken |= fresh.keys()
            pool += fresh.values()
            worth = np.append(worth, self._worth(list(fresh.values())))
        return pool[int(np.argmax(worth))]

    def least_certain(self) -> Parameters:
        """Return the feasible random point whose outcome is least certain."""
        pool = random_points(self._problem, _RANDOM_POINTS, self._earlier.seen, self._generator)
        _, deviations = self._model.predict(self._problem.feature_table(pool))
        return pool[int(np.argmax(deviations * self._earlier.feasibility(pool)))]

    def _worth(self, points: Sequence[Parameters]) -> _Numbers:
        costs, cost_deviations = self._earlier.predicted_costs(points)
        means, deviations = self._model.predict(self._problem.feature_table(points))
        worth = np.zeros(len(points))
        for front, shift in zip(self._fronts, self._shifts, strict=True):
            worth += expected_improvement(front, costs + shift * cost_deviations, means, deviations)
        # Where no point improves the front, the least certain one still has the largest worth.
        worth = worth / len(self._fronts) + 1e-12 * deviations
        return np.asarray(worth * self._earlier.feasibility(points))

    def _children(self) -> Iterator[Parameters]:
        """Yield mutations and crossovers of the points that are best by the model."""
        parents = self._parents()
        for _ in range(_CHILDREN if parents else 0):
            one, other = (
                parents[int(index)] for index in self._generator.integers(len(parents), size=2)
            )
            child = child_of(self._problem, one, other, self._generator)
            if child is not None:
                yield child

    def _parents(self) -> list[Parameters]:
        """Return the observed points that the fewest others dominate by the expected outcomes."""
        table = np.column_stack([self._costs, self._expected])
        dominators = [
            int(np.sum(np.all(table <= row, axis=1) & np.any(table < row, axis=1))) for row in table
        ]
        order = np.argsort(dominators, kind="stable")[:_PARENTS]
        legal = [self._problem.legal(self._points[index]) for index in order]
        return [point for point in legal if point is not None]
