"""The times of a running study, from trials whose times a test chooses."""

import sqlite3
from datetime import UTC, datetime

import pytest

from studies.analysis import followed_study
from studies.analysis.run_times import RunTimes, run_times
from studies.records import Trial
from tests.studies.analysis.written_study import Written

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def execute(written: Written, *statements: str) -> None:
    with sqlite3.connect(written.spec.storage.removeprefix("sqlite:///")) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def set_times(written: Written, number: int, started: str, ended: str | None = None) -> None:
    """Set the times of a candidate on the day of `NOON`."""
    end = "NULL" if ended is None else f"'2030-01-01 {ended}.000000'"
    execute(
        written,
        f"UPDATE nas_trials SET started_at = '2030-01-01 {started}.000000', ended_at = {end} "
        f"WHERE number = {number} AND kind = 'candidate'",
    )


def give_to_another_process(written: Written, *numbers: int) -> None:
    which = ", ".join(map(str, numbers))
    execute(
        written,
        "CREATE TEMP TABLE another AS SELECT * FROM nas_processes",
        "UPDATE another SET token = 'another'",
        "INSERT INTO nas_processes SELECT * FROM another",
        f"UPDATE nas_trials SET process = 'another' WHERE number IN ({which})",
    )


def running(written: Written) -> Trial:
    trial = written.store.claim("small", total=99)
    assert trial is not None
    return trial


def found(written: Written) -> RunTimes:
    times = run_times(written.store, "small", NOON)
    assert times is not None
    return times


def test_a_study_that_is_not_running_has_no_times(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_times(written.store, "small", NOON) is None
    written.trial(loss=2.0, decode=9.0)
    assert run_times(written.store, "small", NOON) is None
    running(written)
    assert run_times(written.store, "small", NOON) is not None
    monkeypatch.setattr(followed_study, "seems_lost", lambda owner: True)
    assert run_times(written.store, "small", NOON) is None


def test_the_time_of_a_new_study_begins_with_its_first_trial(written: Written) -> None:
    running(written)
    set_times(written, 0, "11:59:00")
    assert found(written) == RunTimes(so_far_s=60.0, left_s=None)
    written.trial(loss=2.0, decode=9.0)
    set_times(written, 1, "11:58:00", "11:59:30")
    assert found(written).so_far_s == 120.0
    set_times(written, 1, "12:10:00", "12:11:00")  # the clock of that machine is fast
    set_times(written, 0, "12:10:00")
    assert found(written).so_far_s == 0.0


def test_the_time_left_is_that_of_the_candidates_to_come(written: Written) -> None:
    """The three ended candidates took 60, 60 and 180 s. Of six, three are left."""
    for _ in range(3):
        written.trial(loss=2.0, decode=9.0)
    execute(
        written,
        "UPDATE nas_stages SET seconds = 60",
        "UPDATE nas_stages SET seconds = 180 WHERE trial = 3",
        "UPDATE nas_evaluations SET seconds = 0",
    )
    running(written)
    assert found(written).left_s == pytest.approx((3 - 0.5) * 100)
    running(written)
    assert found(written).left_s == pytest.approx((3 - 2 * 0.5) * 100 / 2)
    # A cached evaluation counts with the time that it took originally.
    execute(written, "UPDATE nas_evaluations SET seconds = 360")
    assert found(written).left_s == pytest.approx((3 - 2 * 0.5) * 360 / 2)


def test_the_time_left_is_the_same_before_the_next_candidate_is_claimed(written: Written) -> None:
    """The two ended candidates took 60 s each. Of six, four are left."""
    for _ in range(2):
        written.trial(loss=2.0, decode=9.0)
    execute(written, "UPDATE nas_stages SET seconds = 60", "UPDATE nas_evaluations SET seconds = 0")
    running(written)
    set_times(written, 0, "11:58:00", "11:59:00")
    set_times(written, 1, "11:58:30", "11:59:30")
    set_times(written, 2, "11:59:01")
    assert found(written).left_s == pytest.approx((4 - 0.5) * 60 / 2)


def test_a_reference_at_work_is_none_of_the_candidates_to_come(written: Written) -> None:
    written.trial(loss=2.0, decode=9.0)
    execute(written, "UPDATE nas_stages SET seconds = 60", "UPDATE nas_evaluations SET seconds = 0")
    assert written.store.claim_reference("small", "lfm2-350m") is not None
    running(written)
    assert found(written).left_s == pytest.approx((5 - 0.5) * 60 / 2)


def test_no_time_is_left_for_more_candidates_than_were_requested(written: Written) -> None:
    for _ in range(7):
        written.trial(loss=2.0, decode=9.0)
    running(written)
    assert found(written).left_s == 0.0


def test_a_resumed_study_does_not_count_the_time_in_which_nothing_ran(written: Written) -> None:
    """Trial 0 ended in an earlier process, and trial 1 began in it and was resumed."""
    for _ in range(2):
        written.trial(loss=2.0, decode=9.0)
    execute(written, "UPDATE nas_stages SET seconds = 90")
    set_times(written, 0, "01:00:00", "01:01:30")
    set_times(written, 1, "01:01:30", "11:58:00")
    running(written)
    set_times(written, 2, "11:58:00")
    give_to_another_process(written, 0)
    assert found(written).so_far_s == 120.0 + 90.0
    execute(written, "UPDATE nas_trials SET process = 'another' WHERE number = 1")
    assert found(written).so_far_s is None
    assert found(written).left_s is not None
