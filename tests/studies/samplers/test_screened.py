from collections.abc import Callable
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from studies.analysis.pareto_front import hypervolume
from studies.samplers.screened import ScreenedSampler
from studies.samplers.search_problem import Parameters, SearchProblem, problem_of_parameters
from tests.studies.samplers.toy_problems import (
    add_complete,
    ask,
    predictor_of,
    wide_problem,
    wide_values,
)

OBSERVED = {1: (0.3, 9.0), 3: (2.0, 6.0), 5: (5.0, 3.0), 7: (6.5, 2.0), 9: (8.0, 1.0)}
# Costs that do not follow the parameter, so that the order of the points means nothing.
COSTS = (4.0, 9.0, 1.6, 6.0, 2.5, 3.0, 7.0, 2.0, 5.5, 1.0)


def screening_problem(feasible: Callable[[Parameters], float]) -> SearchProblem:
    problem = problem_of_parameters(
        {"x": IntDistribution(0, 9)}, {1: predictor_of(lambda point: COSTS[point["x"]])}
    )
    return replace(
        problem, feasibility=lambda points, _: np.array([feasible(point) for point in points])
    )


def proposal(feasible: Callable[[Parameters], float]) -> object:
    problem = screening_problem(feasible)
    sampler = ScreenedSampler(problem, RandomSampler(seed=0), startup_trials=1, proposals=300)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    add_complete(study, problem, [({"x": x}, values) for x, values in OBSERVED.items()])
    return ask(study, problem)[1]["x"]


def improvements() -> dict[int, float]:
    """Return the mean increase of the hypervolume of each new point, with simulated outcomes."""
    values = np.array(list(OBSERVED.values()))
    span = values.max(axis=0) - values.min(axis=0)
    reference = values.max(axis=0) + 0.1 * span
    outcomes = np.random.default_rng(0).normal(values[:, 0].mean(), values[:, 0].std(), 4_000)
    before = hypervolume(values, reference)
    return {
        x: float(
            np.mean(
                [
                    hypervolume([*values, (outcome, COSTS[x])], reference) - before
                    for outcome in outcomes
                ]
            )
        )
        for x in range(10)
        if x not in OBSERVED
    }


def test_the_proposal_with_the_largest_expected_improvement_is_kept() -> None:
    expected = improvements()
    (best, second) = sorted(expected, key=expected.__getitem__, reverse=True)[:2]
    assert expected[best] > 1.02 * expected[second], "too close for a simulation"
    assert proposal(lambda point: 1.0) == best
    assert proposal(lambda point: 0.01 if point["x"] == best else 1.0) == second


@pytest.mark.parametrize(
    "base",
    [
        TPESampler(seed=0, n_startup_trials=6, multivariate=True, constant_liar=True),
        TPESampler(seed=0, n_startup_trials=6),
        NSGAIISampler(seed=0, population_size=6),
    ],
    ids=["multivariate TPE", "TPE", "NSGA-II"],
)
def test_any_sampler_of_optuna_can_be_screened(base: BaseSampler) -> None:
    wide = wide_problem()
    space = {**wide.space, "fixed": IntDistribution(7, 7), "only": CategoricalDistribution(["a"])}
    problem = problem_of_parameters(
        space, {1: predictor_of(lambda point: sum(point[name] for name in wide.space))}
    )
    study = optuna.create_study(
        directions=["minimize", "minimize"],
        sampler=ScreenedSampler(problem, base, startup_trials=6, proposals=4),
    )
    for _ in range(20):
        trial, point = ask(study, problem)
        study.tell(trial, wide_values(point))
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 20


def test_illegal_proposals_are_replaced_by_random_points() -> None:
    """All but one in a thousand proposals of the other sampler are illegal."""
    wide = wide_problem()

    def legal(point: Parameters) -> Parameters | None:
        return point if point["x0"] == point["x1"] == point["x2"] == 0 else None

    def draw(generator: np.random.Generator) -> Parameters:
        return {**wide.draw(generator), "x0": 0, "x1": 0, "x2": 0}

    problem = replace(wide, legal=legal, draw=draw)
    sampler = ScreenedSampler(problem, RandomSampler(seed=0), startup_trials=2, proposals=2)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    for _ in range(8):
        trial, point = ask(study, problem)
        study.tell(trial, wide_values(point))
        assert legal(point) is not None


def test_no_proposals_are_refused() -> None:
    with pytest.raises(ValueError, match="proposals: 0 is not at least 1"):
        ScreenedSampler(wide_problem(), RandomSampler(), proposals=0)
