"""Tests of what the thread that stores progress reports to the thread that evaluates."""

import time
from pathlib import Path

import pytest

from evaluators.evaluator import Progress
from search_space.preset_models import preset
from studies.records import Outcome, StageRun, Trial
from studies.search.heartbeat import Heartbeat
from studies.storage.claims import TrialTaken
from studies.storage.store import Store
from studies.storage.watched_file import DatabaseGone

_LONGEST_S = 60.0


def test_a_deleted_database_ends_the_evaluation_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.search.heartbeat._REPORT_S", 0.01)
    with Store.open(f"sqlite:///{tmp_path}/study.db") as store:
        trial = _begun(store)
        with Heartbeat(store) as heartbeat:
            heartbeat.report(trial, Progress(done=0.1, text="training"))
            (tmp_path / "study.db").unlink()
            with pytest.raises(DatabaseGone, match="study-rescued-1"):
                _report_until_refused(heartbeat, trial)


def test_a_report_that_comes_after_the_end_of_a_trial_does_not_affect_later_stages(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.search.heartbeat._REPORT_S", 0.01)
    with Store.open(sqlite_url) as store, Heartbeat(store) as heartbeat:
        trial = _begun(store)
        store.enter(trial, "costs")
        store.leave(
            trial, StageRun(stage="costs", fingerprint="costs 1", seconds=1.0), finished=False
        )
        refused = store.end(trial, Outcome(state="infeasible", stage="costs", reason="too large"))
        with pytest.raises(TrialTaken):  # it does not belong to any process now
            _report_until_refused(heartbeat, trial)
        heartbeat.end_stage(trial)
        assert store.reopen(refused)
        assert store.claim("ours", total=1) is not None
        heartbeat.report(trial, Progress(done=0.1, text="training"))


def _begun(store: Store) -> Trial:
    store.add_study("ours", "{}")
    claimed = store.claim("ours", total=1)
    assert claimed is not None
    return store.begin(claimed, preset("lfm2-350m"))


def _report_until_refused(heartbeat: Heartbeat, trial: Trial) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while time.monotonic() < deadline:
        heartbeat.report(trial, Progress(done=0.5, text="training"))
