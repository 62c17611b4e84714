"""Small search problems with a known cost, and the samplers that are tested on them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import TrialState

from studies.samplers.evolution import EvolutionSampler
from studies.samplers.front_mutation import FrontMutationSampler
from studies.samplers.known_costs import KnownCostsSampler
from studies.samplers.screened import ScreenedSampler
from studies.samplers.search_problem import Parameters, SearchProblem, problem_of_parameters

Numbers = NDArray[np.float64]

# Optuna warns that parameters are drawn alone where trials of another space are present.
optuna.logging.set_verbosity(optuna.logging.ERROR)


def _screened(problem: SearchProblem, seed: int, startup: int) -> BaseSampler:
    base = TPESampler(seed=seed, n_startup_trials=startup, multivariate=True)
    return ScreenedSampler(problem, base, seed=seed, startup_trials=startup)


SAMPLERS: Mapping[str, Callable[[SearchProblem, int, int], BaseSampler]] = {
    "known-costs": lambda problem, seed, startup: KnownCostsSampler(
        problem, seed=seed, startup_trials=startup
    ),
    "evolution": lambda problem, seed, startup: EvolutionSampler(
        problem, seed=seed, startup_trials=startup
    ),
    "front-mutation": lambda problem, seed, startup: FrontMutationSampler(
        problem, seed=seed, startup_trials=startup
    ),
    "screened-tpe": _screened,
}


def predictor_of(cost: Callable[[Parameters], float]) -> Callable[..., tuple[Numbers, Numbers]]:
    """Return a predictor that knows a cost exactly."""

    def predict(points: Sequence[Parameters], finished: object) -> tuple[Numbers, Numbers]:
        return np.array([cost(point) for point in points], dtype=float), np.zeros(len(points))

    return predict


def grid_problem(rows: int, columns: int) -> SearchProblem:
    """Points of a grid of which the column does not matter in row 0, and one corner is illegal.

    The cost is the sum of row and column. The column is a category and the row an integer.
    """
    problem = problem_of_parameters(
        {
            "row": IntDistribution(0, rows - 1),
            "column": CategoricalDistribution(range(columns)),
        },
        {1: predictor_of(lambda point: point["row"] + point["column"])},
    )

    def legal(point: Parameters) -> Parameters | None:
        if point["row"] == 0:
            return {"row": 0, "column": 0}
        is_corner = (point["row"], point["column"]) == (rows - 1, columns - 1)
        return None if is_corner else point

    def draw(generator: np.random.Generator) -> Parameters:
        while (point := legal(problem.draw(generator))) is None:
            pass
        return point

    def mutate(point: Parameters, generator: np.random.Generator) -> Parameters | None:
        mutated = problem.mutate(point, generator)
        return None if mutated is None else legal(mutated)

    return replace(problem, legal=legal, draw=draw, mutate=mutate)


def legal_points(problem: SearchProblem, rows: int, columns: int) -> set[tuple[int, int]]:
    """Return the canonical points of a grid as rows and columns."""
    grid = ({"row": row, "column": column} for row in range(rows) for column in range(columns))
    points = [problem.legal(point) for point in grid]
    return {(point["row"], point["column"]) for point in points if point is not None}


def wide_problem(sign: float = 1.0) -> SearchProblem:
    """Twelve parameters from 0 to 4; the cost is their sum times a sign."""
    space = {f"x{index}": IntDistribution(0, 4) for index in range(12)}
    return problem_of_parameters(space, {1: predictor_of(lambda point: sign * sum(point.values()))})


def wide_values(point: Parameters) -> tuple[float, float]:
    """Return the outcome and the cost: each parameter reduces the outcome, the later ones more."""
    values = [float(point[f"x{index}"]) for index in range(12)]
    return -sum((index - 4) * value for index, value in enumerate(values)), sum(values)


def add_complete(
    study: optuna.Study,
    problem: SearchProblem,
    points: Iterable[tuple[Parameters, Sequence[float]]],
    constraints: dict[str, float] | None = None,
) -> None:
    """Add complete trials with the given values to a study."""
    for point, values in points:
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(point),
                distributions=dict(problem.space),
                values=list(values),
                state=TrialState.COMPLETE,
                constraints=constraints,
            )
        )


def ask(study: optuna.Study, problem: SearchProblem) -> tuple[optuna.Trial, dict[str, object]]:
    """Ask a study for a trial, and suggest all of its parameters."""
    trial = study.ask(fixed_distributions=dict(problem.space))
    return trial, trial.params
