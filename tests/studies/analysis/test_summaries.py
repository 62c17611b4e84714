"""Tests of summaries with studies that are small enough for the answer to be known."""

import pytest

from search_space.preset_models import preset
from studies.analysis import followed_study, study_front, summaries, trial_detail
from studies.analysis.followed_study import FollowedStudy
from studies.records import Outcome
from tests.studies.analysis.written_study import (
    Written,
    numbered_architecture,
    numbers,
    summary_of,
)


def test_a_reference_that_failed_is_among_the_failures(written: Written) -> None:
    reference = written.store.claim_reference("small", "lfm2-350m")
    assert reference is not None
    begun = written.store.begin(reference, preset("lfm2-350m"))
    end = Outcome(state="failed", stage="all", reason="no room", failure="out of memory")
    written.store.end(begun, end)
    (failure,) = summaries.status(written.store, "small").failures
    assert failure.reference == "lfm2-350m"


def test_the_status_of_a_study(written: Written) -> None:
    store = written.store
    first = written.trial(loss=2.0, decode=9.0)
    written.trial("infeasible", decode=40.0)
    written.trial("stopped", decode=1.0)
    written.trial("failed")
    written.trial(earlier_duplicate=first)
    running, interrupted = store.claim("small", total=99), store.claim("small", total=99)
    assert running is not None
    assert interrupted is not None
    store.begin(running, numbered_architecture(900), rejections={"parameters": 3, "weight_mb": 1})
    store.interrupt(store.begin(interrupted, numbered_architecture(901)))
    written.reference("lfm2-350m", loss=1.0, decode=1.0)

    found = summaries.status(store, "small")
    assert found.total == 6
    assert found.counts == summaries.Counts(
        complete=2,
        infeasible=1,
        stopped=1,
        failed=1,
        running=1,
        interrupted=1,
        duplicates=1,
        rejected=4,
    )
    assert found.counts.ended == 5
    assert numbers(found.running) == [5]
    assert numbers(found.failures) == [3]
    assert [trial.reference for trial in found.references] == ["lfm2-350m"]
    assert found.rejections == {"parameters": 3, "weight_mb": 1}
    assert found.stage_seconds == {"all": 5 * 0.5}


def test_a_trial_whose_process_has_died_is_not_running(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = written.store.claim("small", total=99)
    assert trial is not None
    before = summaries.status(written.store, "small").counts
    monkeypatch.setattr(followed_study, "seems_lost", lambda owner: owner == trial.owner)
    after = summaries.status(written.store, "small")
    assert (before.running, before.interrupted) == (1, 0)
    assert (after.counts.running, after.counts.interrupted) == (0, 1)
    assert after.running == ()


def test_an_unknown_study_is_an_error(written: Written) -> None:
    for ask in (summaries.status, study_front.front, FollowedStudy):
        with pytest.raises(ValueError, match="study: 'thiers' is not in this database"):
            ask(written.store, "thiers")
    with pytest.raises(ValueError, match="thiers"):
        trial_detail.detail(written.store, "thiers", "0")


def test_a_followed_study_has_the_summary_of_a_study_that_is_read_at_once(written: Written) -> None:
    first = written.trial(loss=2.0, decode=9.0)
    written.trial(loss=1.0, decode=20.0)
    written.trial(loss=2.0, decode=10.0)
    written.trial("infeasible", decode=40.0)
    written.trial("stopped", decode=1.0)
    written.trial(earlier_duplicate=first)
    written.reference("lfm2-350m", loss=1.0, decode=1.0)
    found = summary_of(written)
    assert found.front == study_front.front(written.store, "small", ["loss", "decode"])
    assert found.counts == summaries.status(written.store, "small").counts
    assert numbers(found.complete) == [0, 1, 2]
