"""The common part of all samplers that propose whole points of a search problem."""

import abc
from collections.abc import Set
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from studies.samplers.earlier_trials import EarlierTrials, earlier_trials
from studies.samplers.search_problem import Identity, Parameters, SearchProblem, identity

# Several random points are drawn at most so many times as are needed, since draws may repeat.
_MOST_ATTEMPTS = 4
_SPARE_ATTEMPTS = 100
# Random points of which the first that probably keeps the limits is chosen.
_RANDOM_CHOICES = 10
# Draws until a single point is found that was not seen before.
_MOST_DRAWS = 1_000


class PointSampler(BaseSampler):
    """A sampler that proposes canonical points of a search problem.

    The first trials are random. A point that an earlier trial has had is proposed only if a
    thousand random draws find no other.

    Args:
        problem: The points of the search.
        seed: The seed of all random choices.
        startup_trials: The number of complete trials, at least 1, before a proposal depends on
            them.

    Raises:
        ValueError: `startup_trials` is less than 1.
    """

    def __init__(self, problem: SearchProblem, *, seed: int, startup_trials: int) -> None:
        if startup_trials < 1:
            raise ValueError(f"startup_trials: {startup_trials} is not at least 1")
        self._problem = problem
        self._generator = np.random.default_rng(seed)
        self._independent = RandomSampler(seed=seed)
        self._startup_trials = startup_trials

    @abc.abstractmethod
    def propose(self, study: Study, trial: FrozenTrial, earlier: EarlierTrials) -> Parameters:
        """Return a canonical point for the next trial.

        Args:
            study: The study.
            trial: The next trial.
            earlier: The earlier trials; at least `startup_trials` of them are complete.
        """

    def reseed_rng(self) -> None:
        """Make later random choices differ from those of copies of this sampler."""
        self._generator = np.random.default_rng()
        self._independent.reseed_rng()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the space of the problem, since all parameters are chosen together."""
        return dict(self._problem.space)

    # Optuna types the values of parameters as Any, here and below.
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the point that `propose` chooses, or a random one at the beginning."""
        earlier = earlier_trials(study, trial, self._problem)
        if len(earlier.finished) < self._startup_trials:
            point = self._random_point(earlier)
        else:
            point = self.propose(study, trial, earlier)
        # The given space is smaller than that of the problem if the user has fixed parameters.
        return {name: point[name] for name in search_space}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a random value of a parameter that is not in the space of the problem."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _random_point(self, earlier: EarlierTrials) -> Parameters:
        """Return a random point that probably keeps the limits, as far as that can be estimated."""
        points, are_likely = self._random_choices(earlier, _RANDOM_CHOICES)
        return points[int(np.argmax(are_likely))]

    def _random_choices(
        self, earlier: EarlierTrials, count: int
    ) -> tuple[list[Parameters], NDArray[np.bool_]]:
        """Return up to `count` new random points, and which of them probably keep the limits."""
        points = random_points(self._problem, count, earlier.seen, self._generator)
        return points, earlier.feasibility(points) >= self._generator.random(len(points))


def random_points(
    problem: SearchProblem, count: int, seen: Set[Identity], generator: np.random.Generator
) -> list[Parameters]:
    """Return up to `count` distinct random points that are not in `seen`, and at least one.

    If a thousand draws find only points that are in `seen`, one of these is returned.
    """
    enough = _MOST_ATTEMPTS * count + _SPARE_ATTEMPTS
    found: dict[Identity, Parameters] = {}
    for draws in range(max(_MOST_DRAWS, enough)):
        if len(found) == count or (found and draws >= enough):
            break
        point = problem.draw(generator)
        key = identity(point)
        if key not in seen:
            found[key] = point
    return list(found.values()) or [problem.draw(generator)]


def child_of(
    problem: SearchProblem, one: Parameters, other: Parameters, generator: np.random.Generator
) -> Parameters | None:
    """Return a canonical point that resembles one or both of two canonical points.

    Half of the children have some values of each parent. All are then mutated once or twice.

    Returns:
        The child; None if the attempt led to no legal one.
    """
    child: Parameters | None = dict(one)
    if generator.random() < 0.5 and one is not other:
        mixed = {name: (one if generator.random() < 0.5 else other)[name] for name in one}
        child = problem.legal(mixed)
    for _ in range(int(generator.integers(1, 3))):
        if child is None:
            break
        child = problem.mutate(child, generator)
    return child
