from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution

from studies.samplers.evolution import EvolutionSampler
from studies.samplers.search_problem import Parameters, SearchProblem, problem_of_parameters
from tests.studies.samplers.toy_problems import add_complete, ask


def lineage_problem() -> SearchProblem:
    """Points that mutate only in their generation, so that a child shows its parent's lineage."""
    space = {"lineage": IntDistribution(0, 9), "generation": IntDistribution(0, 99)}

    def mutate(point: Parameters, generator: np.random.Generator) -> Parameters:
        return {**point, "generation": int(generator.integers(1, 100))}

    return replace(problem_of_parameters(space, {}), mutate=mutate)


def lineages_of_children(
    values: list[tuple[float, float]], constraints: list[float], **sizes: int
) -> set[object]:
    """Return the lineages of 20 proposals after trials of the lineages 0, 1, 2 and so on."""
    problem, found = lineage_problem(), set()
    for seed in range(20):
        sampler = EvolutionSampler(problem, seed=seed, startup_trials=1, **sizes)
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        for lineage, (value, excess) in enumerate(zip(values, constraints, strict=True)):
            point = {"lineage": lineage, "generation": 0}
            add_complete(study, problem, [(point, value)], {"limit": excess})
        found.add(ask(study, problem)[1]["lineage"])
    return found


def test_trials_leave_the_population_however_good_they_are() -> None:
    values = [(0.0, 0.0), (3.0, 3.0), (2.0, 2.0), (4.0, 4.0)]
    assert lineages_of_children(values, [0.0] * 4, population=3, entrants=3) == {2}


def test_all_of_the_front_have_children() -> None:
    values = [(0.0, 4.0), (4.0, 0.0), (2.0, 2.0), (3.0, 3.0)]
    assert lineages_of_children(values, [0.0] * 4, entrants=4) == {0, 1, 2}


def test_a_tournament_with_one_entrant_is_no_selection() -> None:
    values = [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]
    assert lineages_of_children(values, [0.0] * 3, entrants=1) == {0, 1, 2}


def test_a_trial_that_violates_a_constraint_loses() -> None:
    values = [(0.0, 0.0), (1.0, 1.0)]
    assert lineages_of_children(values, [0.2, -0.2]) == {1}
    assert lineages_of_children(values, [0.2, 0.1]) == {1}


@pytest.mark.parametrize("name", ["population", "entrants"])
def test_empty_populations_and_tournaments_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: 0 is not at least 1"):
        EvolutionSampler(lineage_problem(), **{name: 0})
