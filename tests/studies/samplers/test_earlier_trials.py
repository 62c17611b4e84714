from dataclasses import replace

import numpy as np
import optuna
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from optuna.trial import TrialState

from studies.analysis.pareto_front import non_dominated
from studies.samplers.earlier_trials import (
    EarlierTrials,
    domination_ranks,
    earlier_trials,
    reference_point,
)
from studies.samplers.search_problem import identity
from tests.studies.samplers.toy_problems import add_complete, ask, grid_problem

objectives = arrays(
    float, st.tuples(st.integers(1, 12), st.integers(2, 3)), elements=st.integers(0, 4)
)


@given(objectives)
def test_each_rank_is_the_front_of_what_lower_ranks_leave(values: NDArray[np.float64]) -> None:
    ranks = domination_ranks(values, np.zeros(len(values)))
    left = np.arange(len(values))
    for rank in range(int(ranks.max()) + 1):
        front = left[list(non_dominated(values[left]))]
        assert set(front) == set(np.flatnonzero(ranks == rank))
        left = np.setdiff1d(left, front)
    assert len(left) == 0


@given(objectives, st.integers(0, 2**12 - 1))
def test_a_violation_is_worse_than_any_value(values: NDArray[np.float64], bits: int) -> None:
    violates = np.array([bool(bits >> index & 1) for index in range(len(values))])
    ranks = domination_ranks(values, violates * 1.0)
    if violates.any() and not violates.all():
        assert ranks[violates].min() > ranks[~violates].max()


def test_every_state_of_a_trial_counts_as_it_should() -> None:
    problem = grid_problem(4, 3)
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0)
    )
    add_complete(study, problem, [({"row": 1, "column": 2}, (5.0, 3.0))])
    add_complete(study, problem, [({"row": 2, "column": 0}, (7.0, 2.0))], {"limit": 0.5})
    add_complete(study, problem, [({"row": 2, "column": 1}, (np.inf, 3.0))])
    add_complete(study, problem, [({"row": 0, "column": 2}, (1.0, 2.0))], {"limit": -3.0})
    for point, state in (
        ({"row": 1, "column": 0}, TrialState.PRUNED),
        ({"row": 1, "column": 1}, TrialState.FAIL),
        ({"row": 3, "column": 0}, TrialState.RUNNING),
    ):
        study.enqueue_trial(point)
        trial, _ = ask(study, problem)
        if state != TrialState.RUNNING:
            study.tell(trial, state=state)
    study.ask()  # another process has not yet suggested the parameters
    trial, _ = ask(study, problem)
    frozen = study.trials[trial.number]

    earlier = earlier_trials(study, frozen, problem)

    assert [each.params["row"] for each in earlier.finished] == [1, 2, 0]
    assert [each.params for each in earlier.running] == [{"row": 3, "column": 0}]
    assert earlier.outcomes.tolist() == [-5.0, -7.0, -1.0]
    assert earlier.costs.tolist() == [[3.0], [2.0], [2.0]]
    assert earlier.violations.tolist() == [0.0, 0.5, 0.0]
    assert earlier.front().tolist() == [0, 2]
    rows_and_columns = [(1, 2), (2, 0), (2, 1), (0, 0), (1, 0), (1, 1), (3, 0)]
    assert earlier.seen == {
        identity({"row": row, "column": column}) for row, column in rows_and_columns
    }


def test_trials_may_record_what_was_not_chosen() -> None:
    plain = grid_problem(4, 3)
    recording = replace(
        plain,
        recorded=("height",),
        legal=lambda point: {name: point[name] for name in plain.space},
    )
    study = optuna.create_study(directions=["maximize", "minimize"])
    for height in (7, 8, 8):
        study.enqueue_trial({"row": 1, "column": 2})
        trial, _ = ask(study, plain)
        trial.suggest_int("height", height, height)
        study.tell(trial, (5.0, 3.0))
    asked = study.ask()
    frozen = study.trials[asked.number]
    assert not earlier_trials(study, frozen, plain).finished
    earlier = earlier_trials(study, frozen, recording)
    assert [each.params["height"] for each in earlier.finished] == [7, 8, 8]
    assert earlier.seen == {identity({"row": 1, "column": 2})}


def test_a_running_trial_with_preliminary_values_counts_as_finished_until_it_is() -> None:
    def values_of(trial: optuna.trial.FrozenTrial) -> list[float] | None:
        return trial.user_attrs.get("values")

    problem = replace(grid_problem(4, 3), preliminary=values_of)
    study = optuna.create_study(directions=["maximize", "minimize"])
    evaluated, _ = ask(study, problem)
    evaluated.set_user_attr("values", [4.0, 2.5])
    unsound, _ = ask(study, problem)
    unsound.set_user_attr("values", [np.nan, 1.0])
    plain, _ = ask(study, problem)

    def earlier() -> EarlierTrials:
        trial, _ = ask(study, problem)
        return earlier_trials(study, study.trials[trial.number], problem)

    before = earlier()
    assert [each.number for each in before.finished] == [evaluated.number]
    assert [each.number for each in before.constrained] == [evaluated.number]
    assert [each.number for each in before.running] == [unsound.number, plain.number]
    assert before.outcomes.tolist() == [-4.0]
    assert before.costs.tolist() == [[2.5]]
    assert before.violations.tolist() == [0.0]
    study.tell(evaluated, [3.0, 2.0])
    after = earlier()
    assert after.outcomes.tolist() == [-3.0]
    assert after.costs.tolist() == [[2.0]]


@given(objectives)
def test_every_trial_dominates_the_reference_point(values: NDArray[np.float64]) -> None:
    assert np.all(values < reference_point(values[:, :-1], values[:, -1]))
