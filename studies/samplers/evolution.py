"""Regularised evolution for several objectives, a sampler without any model.

The population is the youngest complete trials, so that every trial leaves it after a while, however
good it is. The next trial is a mutation of the winner of a tournament. Real, Aggarwal, Huang and
Le, "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019, algorithm 1, have
one objective; here the lowest non-domination rank wins.
"""

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from studies.samplers.earlier_trials import EarlierTrials, domination_ranks
from studies.samplers.point_sampler import PointSampler
from studies.samplers.search_problem import Parameters, SearchProblem, identity

_MOST_TOURNAMENTS = 100


class EvolutionSampler(PointSampler):
    """Proposes mutations of good trials among the youngest ones.

    Example:
        problem = problem_of_parameters(space, costs={})
        study = optuna.create_study(
            directions=["minimize", "minimize"], sampler=EvolutionSampler(problem, seed=0)
        )

    Args:
        problem: The points of the search. Its costs and its features are not used.
        seed: The seed of all random choices.
        startup_trials: The number of random trials at the beginning.
        population: The number of trials in the population.
        entrants: The number of trials in a tournament. A quarter of the population, as in the
            paper.

    Raises:
        ValueError: One of the numbers is less than 1.
    """

    def __init__(
        self,
        problem: SearchProblem,
        *,
        seed: int = 0,
        startup_trials: int = 10,
        population: int = 48,
        entrants: int = 12,
    ) -> None:
        super().__init__(problem, seed=seed, startup_trials=startup_trials)
        for name, number in (("population", population), ("entrants", entrants)):
            if number < 1:
                raise ValueError(f"{name}: {number} is not at least 1")
        self._population = population
        self._entrants = entrants

    def propose(self, study: Study, trial: FrozenTrial, earlier: EarlierTrials) -> Parameters:
        """Return a mutation of a tournament's winner, or a random point if all are known."""
        youngest = slice(-self._population, None)
        ranks = domination_ranks(earlier.values[youngest], earlier.violations[youngest])
        points = [self._problem.legal(each.params) for each in earlier.finished[youngest]]
        for _ in range(_MOST_TOURNAMENTS):
            # The entrants come in random order, so that chance decides between equal ranks.
            entrants = self._generator.permutation(len(points))[: self._entrants]
            parent = points[entrants[int(np.argmin(ranks[entrants]))]]
            child = None if parent is None else self._problem.mutate(parent, self._generator)
            if child is not None and identity(child) not in earlier.seen:
                return child
        return self._random_point(earlier)
