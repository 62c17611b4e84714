"""What all samplers that propose points have in common."""

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import IntDistribution
from optuna.samplers import PartialFixedSampler
from optuna.trial import TrialState

from studies.analysis.pareto_front import hypervolume
from studies.samplers.known_costs import KnownCostsSampler
from studies.samplers.point_sampler import random_points
from studies.samplers.search_problem import problem_of_parameters
from tests.studies.samplers.toy_problems import (
    SAMPLERS,
    add_complete,
    ask,
    grid_problem,
    legal_points,
    predictor_of,
    wide_problem,
    wide_values,
)

STATES = (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

each_kind = pytest.mark.parametrize("kind", SAMPLERS)


def new_study(
    sampler: optuna.samplers.BaseSampler, directions: tuple[str, ...] = ("minimize", "minimize")
) -> optuna.Study:
    return optuna.create_study(directions=directions, sampler=sampler)


@each_kind
@settings(max_examples=6)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 4),
    columns=st.integers(1, 3),
    states=st.lists(st.sampled_from([*STATES, TrialState.RUNNING]), min_size=12, max_size=12),
)
def test_all_legal_points_are_proposed_before_one_is_repeated(
    kind: str, seed: int, rows: int, columns: int, states: list[TrialState]
) -> None:
    problem = grid_problem(rows, columns)
    expected = legal_points(problem, rows, columns)
    if not expected:
        return  # the only point is the illegal corner
    study = new_study(SAMPLERS[kind](problem, seed, 3))
    proposed = []
    for state in states[: len(expected)]:
        trial, point = ask(study, problem)
        proposed.append((point["row"], point["column"]))
        if state == TrialState.COMPLETE:
            study.tell(trial, [float(np.sin(trial.number)), sum(proposed[-1])])
        elif state != TrialState.RUNNING:
            study.tell(trial, state=state)
    assert sorted(proposed) == sorted(expected)
    _, point = ask(study, problem)
    assert (point["row"], point["column"]) in expected


def run(kind: str, seed: int, trials: int, sign: float = 1.0) -> list[dict[str, object]]:
    """Run a search of the wide problem whose objectives are multiplied by a sign."""
    problem = wide_problem(sign)
    direction = "minimize" if sign > 0 else "maximize"
    study = new_study(SAMPLERS[kind](problem, seed, 8), (direction, direction))
    for _ in range(trials):
        trial, point = ask(study, problem)
        study.tell(trial, [sign * value for value in wide_values(point)])
    return [trial.params for trial in study.trials]


@each_kind
class TestEveryPointSampler:
    def test_proposals_depend_only_on_the_seed_and_earlier_trials(self, kind: str) -> None:
        assert run(kind, 0, 14) == run(kind, 0, 14)
        assert run(kind, 0, 14) != run(kind, 1, 14)

    def test_maximising_the_negated_objectives_is_the_same(self, kind: str) -> None:
        assert run(kind, 3, 14, sign=-1.0) == run(kind, 3, 14)

    def test_trials_of_another_space_are_ignored(self, kind: str) -> None:
        problem = wide_problem()
        plain, mixed = (new_study(SAMPLERS[kind](problem, 0, 4)) for _ in range(2))
        others = [
            problem_of_parameters({"other": IntDistribution(0, 4)}, {}),
            problem_of_parameters({**problem.space, "x3": IntDistribution(10, 14)}, {}),
        ]
        for other in others:
            point = other.draw(np.random.default_rng(0))
            add_complete(mixed, other, [(point, (-1000.0, -1000.0))])
        for _ in range(4):
            point = problem.draw(np.random.default_rng(len(plain.trials)))
            add_complete(plain, problem, [(point, wide_values(point))])
            add_complete(mixed, problem, [(point, wide_values(point))])
        _, proposed = ask(mixed, problem)
        assert all(value in range(5) for value in proposed.values())
        # Optuna's sampler does not ignore the other trials, so it proposes something else.
        if kind != "screened-tpe":
            assert proposed == ask(plain, problem)[1]

    def test_trials_with_infinite_values_do_no_harm(self, kind: str) -> None:
        problem = grid_problem(4, 3)
        study = new_study(SAMPLERS[kind](problem, 0, 2))
        values = [(np.inf, 1.0), (1.0, -np.inf), (2.0, 2.0), (1.0, 3.0)]
        points = [{"row": row, "column": 1} for row in (1, 2, 3)] + [{"row": 0, "column": 0}]
        add_complete(study, problem, zip(points, values, strict=True))
        _, point = ask(study, problem)
        assert problem.legal(point) == point
        assert point not in points

    def test_a_fixed_parameter_keeps_its_value(self, kind: str) -> None:
        problem = wide_problem()
        with pytest.warns(optuna.exceptions.ExperimentalWarning):
            sampler = PartialFixedSampler({"x0": 2}, SAMPLERS[kind](problem, 0, 3))
        study = new_study(sampler)
        for _ in range(6):
            trial, point = ask(study, problem)
            study.tell(trial, wide_values(point))
            assert point["x0"] == 2

    @pytest.mark.parametrize("most", [0, 9])
    def test_one_parameter_is_enough(self, kind: str, most: int) -> None:
        problem = problem_of_parameters(
            {"x": IntDistribution(0, most)}, {1: predictor_of(lambda point: point["x"])}
        )
        study = new_study(SAMPLERS[kind](problem, 0, 2))
        for _ in range(most + 1):
            trial, point = ask(study, problem)
            study.tell(trial, [(point["x"] - 3.0) ** 2, point["x"]])
        assert sorted(trial.params["x"] for trial in study.trials) == list(range(most + 1))

    def test_no_random_trials_is_refused(self, kind: str) -> None:
        with pytest.raises(ValueError, match="startup_trials: 0 is not at least 1"):
            SAMPLERS[kind](wide_problem(), 0, 0)


@pytest.mark.parametrize(
    ("kind", "trials"),
    [("known-costs", 24), ("screened-tpe", 24), ("evolution", 80), ("front-mutation", 80)],
)
def test_a_front_is_found_sooner_than_by_random_points(kind: str, trials: int) -> None:
    problem = wide_problem()
    found, found_at_random = [], []
    for seed in range(9):
        points = random_points(problem, trials, frozenset(), np.random.default_rng(seed))
        for volumes, explored in ((found, run(kind, seed, trials)), (found_at_random, points)):
            values = [wide_values(point) for point in explored]
            volumes.append(hypervolume(values, (160.0, 48.0)))
    assert np.median(found) > 1.05 * np.median(found_at_random)


def test_costs_for_all_objectives_are_refused() -> None:
    problem = problem_of_parameters(
        {"x": IntDistribution(0, 9)},
        {index: predictor_of(lambda point: point["x"]) for index in (0, 1)},
    )
    study = new_study(KnownCostsSampler(problem, startup_trials=1))
    add_complete(study, problem, [({"x": 1}, (1.0, 1.0))])
    with pytest.raises(
        ValueError, match=r"costs: \[0, 1\] are not all but one of the 2 objectives"
    ):
        ask(study, problem)
