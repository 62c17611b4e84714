"""Mutation of the front, a sampler that knows the costs but has no model of the outcome.

Its candidates are mutations and crossovers of the non-dominated trials. Each member of the front
has a place among the costs, in which no other member has a better outcome. A candidate leaves the
place of the parent that it resembles more if another member costs no more than the candidate and
has a better outcome than that parent. Such candidates are dropped. Chance decides between the
others, with their probabilities of keeping the limits of the study as weights.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import FrozenTrial

from studies.samplers.earlier_trials import EarlierTrials
from studies.samplers.point_sampler import PointSampler, child_of
from studies.samplers.search_problem import Identity, Parameters, SearchProblem, identity

_Numbers = NDArray[np.float64]

_CHILDREN = 150


class FrontMutationSampler(PointSampler):
    """Proposes a random relative of the front where the front does not already do better.

    Example:
        problem = problem_of_parameters(space, {1: parameters_of})
        study = optuna.create_study(
            directions=["minimize", "minimize"], sampler=FrontMutationSampler(problem, seed=0)
        )

    Args:
        problem: The points of the search, and their costs. Its features are not used.
        seed: The seed of all random choices.
        startup_trials: The number of random trials at the beginning.
    """

    def __init__(self, problem: SearchProblem, *, seed: int = 0, startup_trials: int = 10) -> None:
        super().__init__(problem, seed=seed, startup_trials=startup_trials)

    def propose(self, study: Study, trial: FrozenTrial, earlier: EarlierTrials) -> Parameters:
        """Return a new relative of the front, or a random point if all of them are known."""
        front = earlier.front()
        children: dict[Identity, tuple[Parameters, float]] = {}
        for child, outcome in self._children(earlier, front):
            key = identity(child)
            if key not in earlier.seen and (key not in children or outcome < children[key][1]):
                children[key] = child, outcome
        if not children:
            return self._random_point(earlier)
        points = [point for point, _ in children.values()]
        parents_outcomes = np.array([outcome for _, outcome in children.values()])
        costs, _ = earlier.predicted_costs(points)
        levels = _levels(earlier.costs[front], earlier.outcomes[front], costs)
        feasibility = earlier.feasibility(points)
        for weights in (feasibility * (levels >= parents_outcomes), feasibility):
            if (total := weights.sum()) > 0:
                return points[int(self._generator.choice(len(points), p=weights / total))]
        return points[int(self._generator.integers(len(points)))]

    def _children(
        self, earlier: EarlierTrials, front: NDArray[np.intp]
    ) -> Iterator[tuple[Parameters, float]]:
        """Yield children of the front, with the outcome of the parent that it resembles more."""
        parents = [
            (point, float(earlier.outcomes[index]))
            for index in front
            if (point := self._problem.legal(earlier.finished[index].params)) is not None
        ]
        for _ in range(_CHILDREN if parents else 0):
            pair = self._generator.integers(len(parents), size=2)
            (one, outcome), (other, other_outcome) = (parents[int(index)] for index in pair)
            child = child_of(self._problem, one, other, self._generator)
            if child is not None:
                is_like_one = _equal_values(child, one) >= _equal_values(child, other)
                yield child, outcome if is_like_one else other_outcome


def _equal_values(one: Parameters, other: Parameters) -> int:
    return sum(value == other[name] for name, value in one.items())


def _levels(front_costs_FK: _Numbers, front_outcomes_F: _Numbers, costs_NK: _Numbers) -> _Numbers:
    """Return the best outcome of the front at the costs of each candidate or less, (N,)."""
    costs_no_more_NF = np.all(front_costs_FK[None] <= costs_NK[:, None], axis=-1)
    return np.asarray(np.where(costs_no_more_NF, front_outcomes_F, np.inf).min(axis=1))
