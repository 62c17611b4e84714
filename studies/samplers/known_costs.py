"""A sampler for studies in which all objectives but one are known before a trial runs.

Each proposal maximises the expected hypervolume improvement over the observed front: the costs come
from predictors, and the remaining objective, the outcome, from a Gaussian process over features of
the parameters. So only points that may move the front are evaluated.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from studies.samplers.hypervolume_improvement import Front, expected_improvement, make_front
from studies.samplers.outcome_model import OutcomeModel
from studies.samplers.search_problem import Identity, Parameters, SearchProblem, identity

_Numbers = NDArray[np.float64]

_DRAWS = 8
_RANDOM_POINTS = 150
_CHILDREN = 150
_PARENTS = 20
_CLIMBS = 2
_CLIMBERS = 5
_STEPS = 15
# Random points are drawn at most so many times as are needed, since draws may repeat.
_MOST_ATTEMPTS = 4
# The reference point lies so far beyond the worst member of the front, as a fraction of its extent.
_MARGIN = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Observed:
    """The finished trials, and the points that are being evaluated.

    Attributes:
        finished: The finished trials.
        points: The points of finished trials, then those of running ones.
        costs: The costs of the points, (N, K).
        outcomes: The outcomes of the finished trials.
        deviations: The known standard deviations of these outcomes.
    """

    finished: list[FrozenTrial]
    points: list[Parameters]
    costs: _Numbers
    outcomes: _Numbers
    deviations: _Numbers


class KnownCostsSampler(BaseSampler):
    """Proposes the point with the largest expected hypervolume improvement.

    The first trials are random. Later, every `explore_every`-th trial is the point among random ones
    whose outcome is least certain. No point is proposed twice while others are left.

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
        self._problem = problem
        self._generator = np.random.default_rng(seed)
        self._independent = RandomSampler(seed=seed)
        self._startup_trials = startup_trials
        self._explore_every = explore_every

    def reseed_rng(self) -> None:
        self._generator = np.random.default_rng()
        self._independent.reseed_rng()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._problem.space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        states = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.PRUNED, TrialState.FAIL)
        others = [
            each
            for each in study.get_trials(deepcopy=False, states=states)
            if each.number != trial.number and each.params.keys() == self._problem.space.keys()
        ]
        seen = {
            identity(point)
            for each in others
            if (point := self._problem.legal(each.params)) is not None
        }
        observed = self._observed(study, others)
        if len(observed.outcomes) < self._startup_trials:
            return dict(self._random_points(1, seen)[0])
        proposal = _Proposal(self._problem, observed, seen, self._generator)
        explores = trial.number % self._explore_every == 0
        return dict(proposal.least_certain() if explores else proposal.best())

    def _observed(self, study: Study, trials: Sequence[FrozenTrial]) -> _Observed:
        problem = self._problem
        uncertain = _uncertain_objective(study, problem)
        signs = np.array(
            [1.0 if each == StudyDirection.MINIMIZE else -1.0 for each in study.directions]
        )
        finished = [each for each in trials if each.state == TrialState.COMPLETE]
        running = [each for each in trials if each.state == TrialState.RUNNING]
        values = np.array([each.values for each in finished]).reshape(-1, len(signs)) * signs
        known = sorted(problem.costs)
        costs = values[:, known]
        if running:
            costs = np.vstack([costs, problem.cost_table([each.params for each in running], finished)[0]])
        return _Observed(
            finished=finished,
            points=[each.params for each in (*finished, *running)],
            costs=costs,
            outcomes=values[:, uncertain],
            deviations=np.array([problem.noise(each) for each in finished]),
        )

    def _random_points(self, count: int, seen: set[Identity]) -> list[Parameters]:
        return random_points(self._problem, count, seen, self._generator)


def random_points(
    problem: SearchProblem, count: int, seen: set[Identity], generator: np.random.Generator
) -> list[Parameters]:
    """Return up to `count` distinct random points that are not in `seen`, and at least one."""
    found: dict[Identity, Parameters] = {}
    for _ in range(_MOST_ATTEMPTS * count + 100):
        point = problem.draw(generator)
        key = identity(point)
        if key not in seen:
            found[key] = point
        if len(found) == count:
            break
    return list(found.values()) or [problem.draw(generator)]


def _uncertain_objective(study: Study, problem: SearchProblem) -> int:
    uncertain = set(range(len(study.directions))) - set(problem.costs)
    if len(uncertain) != 1:
        raise ValueError(
            f"costs: {sorted(problem.costs)} are not all but one of the {len(study.directions)} "
            "objectives"
        )
    return uncertain.pop()


class _Proposal:
    """The search for the next point, with a model of what was observed so far."""

    def __init__(
        self,
        problem: SearchProblem,
        observed: _Observed,
        seen: set[Identity],
        generator: np.random.Generator,
    ) -> None:
        self._problem = problem
        self._observed = observed
        self._seen = seen
        self._generator = generator
        features = problem.feature_table(observed.points)
        count = len(observed.outcomes)
        self._model = OutcomeModel(
            features[:count], observed.outcomes, observed.deviations, generator
        )
        # A running trial counts as if its outcome were the expected one.
        self._fronts = self._make_fronts(self._model.draw(features, _DRAWS, generator))
        self._shifts = generator.standard_normal((_DRAWS, observed.costs.shape[1]))
        self._expected = self._model.predict(features)[0]

    def _make_fronts(self, drawn: _Numbers) -> list[Front]:
        costs = self._observed.costs
        reference = _reference(costs, drawn.mean(axis=0))
        return [make_front(costs, outcomes, reference) for outcomes in drawn]

    def best(self) -> Parameters:
        """Return the point with the largest expected improvement that was found."""
        pool = random_points(self._problem, _RANDOM_POINTS, self._seen, self._generator)
        taken = {identity(point) for point in pool} | self._seen
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
        pool = random_points(self._problem, _RANDOM_POINTS, self._seen, self._generator)
        _, deviations = self._model.predict(self._problem.feature_table(pool))
        return pool[int(np.argmax(deviations * self._problem.feasibility(pool, self._observed.finished)))]

    def _worth(self, points: Sequence[Parameters]) -> _Numbers:
        costs, cost_deviations = self._problem.cost_table(points, self._observed.finished)
        means, deviations = self._model.predict(self._problem.feature_table(points))
        worth = np.zeros(len(points))
        for front, shift in zip(self._fronts, self._shifts, strict=True):
            worth += expected_improvement(front, costs + shift * cost_deviations, means, deviations)
        # Where no point improves the front, the least certain one still has the largest worth.
        worth = worth / len(self._fronts) + 1e-12 * deviations
        return np.asarray(worth * self._problem.feasibility(points, self._observed.finished))

    def _children(self) -> Iterator[Parameters]:
        """Yield mutations and crossovers of the points that are best by the model."""
        parents = self._parents()
        for _ in range(_CHILDREN):
            one, other = (
                parents[int(index)] for index in self._generator.integers(len(parents), size=2)
            )
            child: Parameters | None = dict(one)
            if self._generator.random() < 0.5 and one is not other:
                mixed = {
                    name: (one if self._generator.random() < 0.5 else other)[name] for name in one
                }
                child = self._problem.legal(mixed)
            for _ in range(int(self._generator.integers(1, 3))):
                if child is None:
                    break
                child = self._problem.mutate(child, self._generator)
            if child is not None:
                yield child

    def _parents(self) -> list[Parameters]:
        """Return the observed points that the fewest others dominate by the expected outcomes."""
        table = np.column_stack([self._observed.costs, self._expected])
        dominators = [
            int(np.sum(np.all(table <= row, axis=1) & np.any(table < row, axis=1))) for row in table
        ]
        order = np.argsort(dominators, kind="stable")[:_PARENTS]
        legal = [self._problem.legal(self._observed.points[index]) for index in order]
        return [point for point in legal if point is not None]


def _reference(costs_NK: _Numbers, outcomes_N: _Numbers) -> _Numbers:
    table = np.column_stack([costs_NK, outcomes_N])
    low, high = table.min(axis=0), table.max(axis=0)
    return np.asarray(high + _MARGIN * np.maximum(high - low, 1e-9))
