from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import optuna
from optuna.distributions import IntDistribution

from studies.samplers.front_mutation import FrontMutationSampler
from studies.samplers.search_problem import Parameters, SearchProblem, problem_of_parameters
from tests.studies.samplers.toy_problems import add_complete, ask, predictor_of

# Steps of three along the cost, starting at 2 and at 4. All other points are illegal, so that there
# are no crossovers.
LINEAGES: Mapping[int, tuple[int, ...]] = {0: (2, 5, 8), 9: (4, 7, 10)}


def lineage_problem(feasible: Callable[[Parameters], float]) -> SearchProblem:
    problem = problem_of_parameters(
        {"lineage": IntDistribution(0, 9), "cost": IntDistribution(0, 10)},
        {1: predictor_of(lambda point: point["cost"])},
    )

    def legal(point: Parameters) -> Parameters | None:
        return point if point["cost"] in LINEAGES.get(point["lineage"], ()) else None

    def draw(generator: np.random.Generator) -> Parameters:
        lineage = int(generator.choice([0, 9]))
        return {"lineage": lineage, "cost": int(generator.choice(LINEAGES[lineage]))}

    def mutate(point: Parameters, generator: np.random.Generator) -> Parameters | None:
        return legal({**point, "cost": point["cost"] + 3})

    return replace(
        problem,
        legal=legal,
        draw=draw,
        mutate=mutate,
        feasibility=lambda points, _: np.array([feasible(point) for point in points]),
    )


def proposals(
    outcome_at_2: float,
    outcome_at_4: float,
    feasible: Callable[[Parameters], float] = lambda point: 1.0,
) -> set[tuple[object, object]]:
    """Return the lineages and costs that are proposed after one trial of each lineage."""
    problem, found = lineage_problem(feasible), set()
    for seed in range(30):
        sampler = FrontMutationSampler(problem, seed=seed, startup_trials=2)
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        add_complete(study, problem, [({"lineage": 0, "cost": 2}, (outcome_at_2, 2.0))])
        add_complete(study, problem, [({"lineage": 9, "cost": 4}, (outcome_at_4, 4.0))])
        _, point = ask(study, problem)
        found.add((point["lineage"], point["cost"]))
    return found


def test_children_leave_no_place_where_their_parents_are_best() -> None:
    """At costs above 4, the second trial is better than the parent of the first lineage."""
    assert proposals(5.0, 1.0) == {(9, 7), (9, 10)}


def test_dominated_trials_have_no_children() -> None:
    assert proposals(1.0, 5.0) == {(0, 5), (0, 8)}


def test_infeasible_children_are_not_proposed() -> None:
    assert proposals(5.0, 1.0, lambda point: float(point["cost"] == 10)) == {(9, 10)}


def test_feasible_children_elsewhere_come_before_infeasible_ones() -> None:
    assert proposals(5.0, 1.0, lambda point: float(point["lineage"] == 0)) == {(0, 5), (0, 8)}


def test_a_search_without_any_feasible_child_goes_on() -> None:
    assert proposals(5.0, 1.0, lambda point: 0.0) == {(0, 5), (0, 8), (9, 7), (9, 10)}
