"""What the earlier trials of a study tell a sampler.

Shapes: N trials, M objectives, K costs, F trials of a front, P points.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from studies.samplers.search_problem import Identity, Parameters, SearchProblem, identity

_Numbers = NDArray[np.float64]

# The reference point lies so far beyond the worst trial, as a fraction of the extent of all trials.
_MARGIN = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierTrials:
    """The trials before the next one whose parameters are a point of the search problem.

    All objectives are minimised here: the values of those that the study maximises are negated.

    Attributes:
        problem: The search problem.
        finished: The complete trials with finite values, and the running ones with preliminary
            values, in the order of their numbers.
        constrained: The trials that have constraints or preliminary values.
        running: The other running trials whose parameters are all known.
        seen: The canonical points of all trials, including those that were pruned or failed.
        signs: 1 for each objective that the study minimises and -1 for the others, (M,).
        values: The objectives of the finished trials, (N, M).
        violations: By how much each finished trial violates its constraints in total, (N,).
    """

    problem: SearchProblem
    finished: Sequence[FrozenTrial]
    constrained: Sequence[FrozenTrial]
    running: Sequence[FrozenTrial]
    seen: frozenset[Identity]
    signs: _Numbers
    values: _Numbers
    violations: _Numbers

    @property
    def costs(self) -> _Numbers:
        """The costs of the finished trials, (N, K)."""
        return np.asarray(self.values[:, sorted(self.problem.costs)])

    @property
    def outcomes(self) -> _Numbers:
        """The objective of the finished trials that cannot be predicted, (N,).

        Raises:
            ValueError: The problem does not have a cost for each objective but one.
        """
        rest = set(range(len(self.signs))) - self.problem.costs.keys()
        if len(rest) != 1 or max(self.problem.costs, default=0) >= len(self.signs):
            raise ValueError(
                f"costs: {sorted(self.problem.costs)} are not all but one of the "
                f"{len(self.signs)} objectives"
            )
        return np.asarray(self.values[:, rest.pop()])

    def predicted_costs(self, points: Sequence[Parameters]) -> tuple[_Numbers, _Numbers]:
        """Return the means and standard deviations of the costs of points, (P, K) each."""
        means, deviations = self.problem.cost_table(points, self.finished)
        return means * self.signs[sorted(self.problem.costs)], deviations

    def feasibility(self, points: Sequence[Parameters]) -> _Numbers:
        """Return the probability that each point keeps the limits of the study, (P,)."""
        return self.problem.feasibility(points, self.constrained)

    def front(self) -> NDArray[np.intp]:
        """Return the indices of the non-dominated finished trials, (F,)."""
        return np.flatnonzero(domination_ranks(self.values, self.violations) == 0)


def earlier_trials(study: Study, trial: FrozenTrial, problem: SearchProblem) -> EarlierTrials:
    """Read the earlier trials of a study.

    Trials whose parameters are not in the space of the problem are ignored, such as those that were
    added before the space was changed.

    Args:
        study: The study.
        trial: The next trial, which is ignored.
        problem: The search problem.
    """
    states = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.PRUNED, TrialState.FAIL)
    others = [
        each
        for each in study.get_trials(deepcopy=False, states=states)
        if each.number != trial.number and _is_in(problem, each.params)
    ]
    preliminary = {
        each.number: with_values
        for each in others
        if each.state == TrialState.RUNNING
        and (with_values := _with_preliminary_values(each, problem)) is not None
    }
    finished = [
        preliminary.get(each.number, each)
        for each in others
        if each.number in preliminary
        or (each.state == TrialState.COMPLETE and np.all(np.isfinite(each.values)))
    ]
    signs = np.array(
        [1.0 if each == StudyDirection.MINIMIZE else -1.0 for each in study.directions]
    )
    points = (problem.legal(each.params) for each in others)
    return EarlierTrials(
        problem=problem,
        finished=finished,
        constrained=[
            each
            for each in others
            if each.number in preliminary
            or (each.state in (TrialState.COMPLETE, TrialState.PRUNED) and each.constraints)
        ],
        running=[
            each
            for each in others
            if each.state == TrialState.RUNNING and each.number not in preliminary
        ],
        seen=frozenset(identity(point) for point in points if point is not None),
        signs=signs,
        values=np.array([each.values for each in finished]).reshape(-1, len(signs)) * signs,
        violations=np.array(
            [sum(max(0.0, excess) for excess in each.constraints.values()) for each in finished]
        ),
    )


def domination_ranks(values_NM: _Numbers, violations_N: _Numbers) -> NDArray[np.intp]:
    """Return the non-domination rank of each trial, 0 for those that no other dominates, (N,).

    A trial dominates those that violate constraints more than it does, and among those that violate
    them equally, the trials to which it is nowhere worse and somewhere better (Deb et al., "A Fast
    and Elitist Multiobjective Genetic Algorithm: NSGA-II", 2002, sections III-A and VI-A).

    Args:
        values_NM: The objectives, all of which are minimised.
        violations_N: By how much each trial violates its constraints.
    """
    one, other = values_NM[:, None], values_NM[None]
    is_better = np.all(one <= other, axis=-1) & np.any(one < other, axis=-1)
    less = violations_N[:, None] < violations_N[None]
    dominates = less | (is_better & (violations_N[:, None] == violations_N[None]))
    ranks = np.full(len(values_NM), -1, dtype=np.intp)
    rank = 0
    while np.any(remaining := ranks < 0):
        ranks[remaining & ~np.any(dominates[remaining], axis=0)] = rank
        rank += 1
    return ranks


def reference_point(costs_NK: _Numbers, outcomes_N: _Numbers) -> _Numbers:
    """Return a reference point for the hypervolume, slightly worse than every trial, (K + 1,)."""
    table = np.column_stack([costs_NK, outcomes_N])
    low, high = table.min(axis=0), table.max(axis=0)
    return np.asarray(high + _MARGIN * np.maximum(high - low, 1e-9))


def _with_preliminary_values(trial: FrozenTrial, problem: SearchProblem) -> FrozenTrial | None:
    values = problem.preliminary(trial)
    if values is None or not np.all(np.isfinite(values)):
        return None
    copied = copy.copy(trial)
    copied.values = list(values)
    return copied


# Optuna types the values of parameters as Any.
def _is_in(problem: SearchProblem, parameters: Mapping[str, Any]) -> bool:
    chosen = parameters.keys() - set(problem.recorded)
    return chosen == problem.space.keys() and all(
        _has(distribution, parameters[name]) for name, distribution in problem.space.items()
    )


def _has(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if not isinstance(value, int | float):
        return False
    if isinstance(distribution, IntDistribution):
        return value in range(distribution.low, distribution.high + 1, distribution.step)
    return distribution.low <= value <= distribution.high
