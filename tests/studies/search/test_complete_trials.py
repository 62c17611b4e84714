"""The complete candidates are always those that the database has now."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from evaluators.evaluator import Evaluation, Score
from studies.records import Outcome, Trial
from studies.search.complete_trials import CompleteTrials
from studies.spec.study_spec import StudySpec
from studies.storage.store import Store
from tests.studies.fakes import run_with_fakes
from tests.studies.storage.timed_trials import replace_stored

_REFUSAL = Outcome(state="infeasible", stage="latency", reason="too slow")


def _refuse(store: Store, trial: Trial) -> None:
    assert store.refuse(trial, _REFUSAL)


def _refuse_and_reopen(store: Store, trial: Trial) -> None:
    _refuse(store, trial)
    (refused,) = store.trials(trial.study, numbers=[trial.number])
    assert store.reopen(refused)


def _measure_again(store: Store, trial: Trial) -> None:
    assert trial.model is not None
    score = Score(name="decode", value=99.0, unit="ms")
    evaluation = Evaluation(scores=(score,), seconds=1.0)
    replace_stored(store, "fake-latency", store.architecture(trial.model.hash), evaluation)


@pytest.mark.parametrize("change", [_refuse, _refuse_and_reopen, _measure_again])
def test_changes_are_read(
    spec: StudySpec, store: Store, change: Callable[[Store, Trial], None]
) -> None:
    spec = spec.model_copy(update={"proxy": spec.proxy.model_copy(update={"rungs": ()})})
    run_with_fakes(spec, store)
    complete = CompleteTrials(spec.name, store)
    before = complete.read()
    assert list(before) == list(store.trials(spec.name))
    change(store, next(iter(before)))
    after = [trial for trial in store.trials(spec.name) if trial.state == "complete"]
    assert list(complete.read()) == after != list(before)
    # It is resumed, and two more are evaluated.
    run_with_fakes(spec.model_copy(update={"trials": spec.trials + 2}), store)
    after = [trial for trial in store.trials(spec.name) if trial.state == "complete"]
    assert list(complete.read()) == after
    assert len(after) == spec.trials + 2 - (change is _refuse)


def test_nothing_is_read_twice(
    spec: StudySpec, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    trials = store.trials

    def counted(study: str, numbers: list[int] | None = None) -> tuple[Trial, ...]:
        found = trials(study, numbers=numbers)
        read.extend(trial.number for trial in found)
        return found

    complete = CompleteTrials(spec.name, store)
    run_with_fakes(spec, store)
    monkeypatch.setattr(store, "trials", counted)
    first = list(complete.read())
    assert list(complete.read()) == first
    assert read == list(range(spec.trials))
    _measure_again(store, replace(first[0]))
    complete.read()
    assert read[spec.trials :] == [first[0].number]
