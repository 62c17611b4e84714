"""Tests of following a study: reading increments gives the same state as reading everything."""

import statistics
from pathlib import Path

import pytest

from evaluators.evaluator import Progress
from search_space.architecture import architecture_hash
from search_space.preset_models import preset
from studies.analysis.followed_study import FollowedStudy
from studies.records import Outcome
from studies.search.loop import run_study
from studies.spec.study_spec import to_json
from studies.spec.study_tables import Objective
from studies.storage.store import Store
from tests.studies.fakes import (
    all_stages,
    busy_at_first,
    small_spec,
    static,
    training,
    unlucky,
)
from tests.studies.large_study import LargeStudy, write_study


def _same(one: FollowedStudy, other: FollowedStudy) -> bool:
    return (one.trials, one.shapes, one.evidence) == (other.trials, other.shapes, other.evidence)


def test_increments_of_a_resumed_study_add_up_to_the_whole(url: str) -> None:
    spec = small_spec(url, trials=4, references=("lfm2-350m",))
    stages = all_stages()
    stages[2].failing = lambda architecture: unlucky(architecture, 0.3)
    with Store.open(url) as store:
        run_study(spec, evaluators=stages, store=store)
        followed = FollowedStudy(store, "small")
        assert followed.catch_up() == set(followed.trials)
        assert len(followed.trials) == 5
        assert followed.catch_up() == frozenset()
        before = set(followed.trials)
        run_study(spec, evaluators=stages, store=store, trials=7)
        changed = followed.catch_up()
        assert changed == set(followed.trials) - before
        whole = FollowedStudy(store, "small")
        whole.catch_up()
        assert _same(followed, whole)
        assert all(each.disturbed == pytest.approx(0.03) for each in followed.evidence.values())
        assert all(each.waited_s == 3.0 for each in followed.evidence.values())
        assert {time.median_ms for time in followed.reference_times} == {7.0}
        timed = [trial.id for trial in followed.trials.values() if "decode" in trial.values]
        assert sorted(time.trial for time in followed.reference_times) == sorted(timed)


def test_changes_of_ended_trials_add_up_to_the_whole(url: str) -> None:
    """A time is measured again, a limit refuses some candidates, and a higher one resumes them."""
    spec = small_spec(url, trials=6, references=("lfm2-350m",))
    stages = (static(), busy_at_first(), training())
    with Store.open(url) as store:
        run_study(spec, evaluators=stages, store=store, trials=4, is_quiet=lambda: False)
        followed = FollowedStudy(store, "small")
        followed.catch_up()
        median = statistics.median(
            trial.values["decode"]
            for trial in followed.trials.values()
            if trial.kind != "reference"
        )
        for most in (median, 100.0):
            objectives = (*spec.objectives[:1], Objective(name="decode", max=most))
            limited = spec.model_copy(update={"objectives": (*objectives, spec.objectives[2])})
            before = dict(followed.trials)
            run_study(limited, evaluators=stages, store=store, is_quiet=lambda: False)
            changed = followed.catch_up()
            assert {key for key in before if before[key] != followed.trials[key]} <= changed
            assert before != {key: followed.trials[key] for key in before}
            assert followed.catch_up() == frozenset()
            whole = FollowedStudy(store, "small")
            whole.catch_up()
            assert _same(followed, whole)
            states = {trial.state for trial in followed.trials.values()}
            assert ("infeasible" in states) == (most == median)


def test_a_change_during_a_read_is_read_the_next_time(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One trial changes after the changes were looked up, and another before trials are read."""
    spec = small_spec(sqlite_url, trials=3)
    with Store.open(sqlite_url) as store:
        run_study(spec, evaluators=all_stages(), store=store)
        followed = FollowedStudy(store, "small")
        followed.catch_up()
        first, second, third = store.trials("small")
        refusal = Outcome(state="infeasible", stage="latency", reason="too slow")
        store.refuse(first, refusal)
        look_up = store.changed_trials

        def look_up_and_change(study: str, revision: int) -> tuple[int, ...]:
            found = look_up(study, revision)
            store.refuse(second, refusal)
            store.reopen(store.trials("small")[0])
            store.refuse(third, refusal)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(store, "changed_trials", look_up_and_change)
            followed.catch_up()
        followed.catch_up()
        whole = FollowedStudy(store, "small")
        whole.catch_up()
        assert _same(followed, whole)


def test_a_running_trial_changes_until_it_ends(url: str) -> None:
    with Store.open(url) as store:
        store.add_study("small", to_json(small_spec(url)))
        followed = FollowedStudy(store, "small")
        assert followed.catch_up() == frozenset()
        first, second = (store.claim("small", total=9) for _ in range(2))
        assert first is not None
        assert second is not None
        assert followed.catch_up() == {first.id, second.id}
        assert followed.trials[first.id].model is None
        begun = store.begin(first, preset("hybrid-20m"))
        store.interrupt(second)  # without an architecture it is deleted
        assert followed.catch_up() == {first.id, second.id}
        assert set(followed.trials) == {first.id}
        store.enter(begun, "training")
        store.report(begun, Progress(done=0.5, text="half"))
        assert followed.catch_up() == {first.id}
        assert followed.trials[first.id].progress == Progress(done=0.5, text="half")
        store.end(begun, Outcome(state="complete"))
        assert followed.catch_up() == {first.id}
        assert followed.trials[first.id].state == "complete"
        assert followed.catch_up() == frozenset()


def test_a_reference_model_that_is_retried_is_read_again(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store:
        store.add_study("small", to_json(small_spec(sqlite_url)))
        reference = store.claim_reference("small", "lfm2-350m")
        assert reference is not None
        begun = store.begin(reference, preset("lfm2-350m"))
        lost = Outcome(state="failed", stage="latency", reason="gone", failure="device lost")
        store.end(begun, lost)
        followed = FollowedStudy(store, "small")
        followed.catch_up()
        retried = store.claim_reference("small", "lfm2-350m")
        assert retried is not None
        store.end(retried, Outcome(state="complete"))
        assert followed.catch_up() == {reference.id}
        assert followed.trials[reference.id].state == "complete"


def test_architectures_are_read_by_their_hashes(sqlite_url: str) -> None:
    spec = small_spec(sqlite_url, trials=2)
    with Store.open(sqlite_url) as store:
        run_study(spec, evaluators=all_stages(), store=store)
        followed = FollowedStudy(store, "small")
        followed.catch_up()
        for digest, shape in followed.frozen_copy().shapes.items():
            architecture = followed.architecture(digest)
            assert architecture_hash(architecture) == digest
            assert architecture.layout == shape.layout


def test_a_restarted_study_is_not_current(sqlite_url: str) -> None:
    spec = small_spec(sqlite_url)
    with Store.open(sqlite_url) as store:
        store.add_study("small", to_json(spec))
        followed = FollowedStudy(store, "small")
        assert followed.is_current()
        store.delete_study("small")
        store.add_study("small", to_json(spec))
        assert not followed.is_current()


def test_a_read_only_database_is_read_while_another_process_writes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    write_study(LargeStudy(url=url, trials=12, running=True))
    with Store.open(url) as writer, Store.open_to_read(url) as reader:
        followed = FollowedStudy(reader, "large")
        with writer._database.write() as connection:
            connection.exec_driver_sql("UPDATE nas_trials SET reason = 'being written'")
            followed.catch_up()
            connection.rollback()
    assert len(followed.trials) == 14
    assert all("being" not in str(trial.outcome) for trial in followed.trials.values())
