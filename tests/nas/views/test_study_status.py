import os
import platform
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from evaluators.evaluator import Progress
from hardware.measurement import Interval
from nas.views.study_status import confirmation_status_line, status_document, status_view
from studies.analysis.run_times import RunTimes
from studies.analysis.summaries import Counts, Status
from studies.owner import this_process
from studies.records import ConfirmationKey, ConfirmationRun
from tests.nas.calibrated import AT, calibration


def _status(make_trial) -> Status:
    running = make_trial(6, "running")
    progress = Progress(done=0.5, text="9 tokens")
    return Status(
        study="small",
        total=8,
        counts=Counts(
            complete=2,
            infeasible=1,
            stopped=0,
            failed=1,
            running=1,
            interrupted=0,
            duplicates=1,
            rejected=3,
        ),
        running=(replace(running, progress=progress),),
        failures=(
            make_trial(0, "failed", reference="lfm2-350m", reason="no room"),
            make_trial(4, "failed", reason="loss 9 nats"),
        ),
        references=(),
        rejections={"parameters": 3},
        stage_seconds={"latency": 30.0, "training": 7200.0},
        created_at=running.started_at,
        calibrations=(),
        provisional=0,
    )


def test_it_shows_what_has_ended_what_runs_and_what_failed(make_trial, render) -> None:
    shown = render(status_view(_status(make_trial)))
    for fact in (
        "small  4 of 8 trials",
        "50 %",
        "2 complete, 1 infeasible, 1 failed, 1 running; 1 of them duplicates",
        "trial 6 on process 77 on board: training, 50 %, 9 tokens",
        "lfm2-350m failed, diverged: no room",
        "trial 4 failed, diverged: loss 9 nats",
        "rule parameters rejected 3 draws",
        "latency 30 s, training 2 h 0 min",
    ):
        assert fact in shown


@pytest.mark.parametrize(
    ("times", "line"),
    [
        (RunTimes(so_far_s=65.4, left_s=720.0), "65 s so far, about 12 min left"),
        (RunTimes(so_far_s=7300.0, left_s=None), "2 h 2 min so far"),
        (RunTimes(so_far_s=None, left_s=30.0), "about 30 s left"),
        (RunTimes(so_far_s=65.0, left_s=0.0), "65 s so far"),
        (RunTimes(so_far_s=None, left_s=None), None),
        (None, None),
    ],
)
def test_the_times_of_a_running_study_are_a_line(
    make_trial, render, times: RunTimes | None, line: str | None
) -> None:
    status = _status(make_trial)
    shown = render(status_view(status, times)).splitlines()
    assert [each for each in shown if "so far" in each or "left" in each] == [line] * bool(line)
    document = status_document(status, [], times)
    assert document["seconds_so_far"] == (None if times is None else times.so_far_s)
    assert document["seconds_left"] == (None if times is None else times.left_s)


def test_more_trials_than_a_lowered_number_are_not_a_fraction_of_it(make_trial, render) -> None:
    lowered = replace(_status(make_trial), total=2)
    shown = render(status_view(lowered))
    assert "small  4 trials (2 requested)" in shown
    assert "100 %" in shown
    assert status_document(lowered, [])["requested"] == 2


def test_a_study_without_a_candidate_says_so(make_trial, render) -> None:
    nothing = Counts(
        complete=0,
        infeasible=0,
        stopped=0,
        failed=0,
        running=0,
        interrupted=0,
        duplicates=0,
        rejected=0,
    )
    begun = replace(
        _status(make_trial),
        counts=nothing,
        running=(),
        failures=(),
        rejections={},
        stage_seconds={},
    )
    shown = render(status_view(begun))
    assert "0 of 8 trials" in shown
    assert "no candidate yet" in shown


def test_the_document_counts_every_state(make_trial) -> None:
    document = status_document(_status(make_trial), [])
    assert (document["study"], document["requested"]) == ("small", 8)
    assert document["trials"] == {
        "complete": 2,
        "infeasible": 1,
        "stopped": 0,
        "failed": 1,
        "running": 1,
        "interrupted": 0,
        "duplicates": 1,
    }
    assert document["failures"] == [
        {"trial": "lfm2-350m", "reason": "no room"},
        {"trial": 4, "reason": "loss 9 nats"},
    ]
    assert document["running"] == [
        {
            "trial": 6,
            "stage": "training",
            "done": 0.5,
            "text": "9 tokens",
            "host": "board",
            "pid": 77,
        }
    ]
    assert document["repeats"] == {"ended": 0, "running": []}


def test_the_reference_models_time_and_provisional_times_are_reported(
    make_trial, render, monkeypatch
) -> None:
    monkeypatch.setattr("time.time", lambda: AT + 11 + 180)
    known = calibration()
    unknown = replace(known, interval=Interval(low=8.0, high=15.0))
    status = replace(_status(make_trial), calibrations=(known, unknown), provisional=2)
    shown = " ".join(render(status_view(status)).split())
    assert "2 candidates have a provisional time; `nas run` measures it again" in shown
    settled = "reference model at tg64@1024: 10.00 ±0.20 ms, from 12 timings, the latest 3 min ago"
    assert f"{settled} reference model" in shown
    assert shown.count("tg64@1024: generates 64 tokens after 1,024 others") == 1
    assert (
        "reference model at tg64@1024: 10.00 (8.000 to 15.00) ms, from 12 timings, the latest "
        "3 min ago; not certain enough to enforce limits in ms"
    ) in shown
    document = status_document(status, [])
    assert document["provisional"] == 2
    first, second = document["calibrations"]
    assert (first["workload"], first["milliseconds"], first["timings"]) == ("tg64@1024", 10.0, 12)
    assert (first["settled"], second["settled"]) == (True, False)
    assert (first["provisional"], second["provisional"]) == (False, True)
    assert (second["low_ms"], second["high_ms"], second["latest_at"]) == (8.0, 15.0, AT + 11)


def test_the_process_that_confirms_a_study_is_named(make_trial) -> None:
    now = datetime.now(UTC)
    repeat = ConfirmationKey(
        trial=3, stage="training", fingerprint="again", seed=2, token_budget=1_000
    )
    begun = ConfirmationRun(
        key=repeat,
        number=7,
        owner=this_process(),
        ended_at=None,
        seconds=None,
        failure=None,
        reason=None,
        scores=(),
        curve=(),
    )
    ended = replace(begun, ended_at=now, seconds=1.0)
    failed = replace(ended, failure="diverged", reason="loss is nan")
    lost = replace(begun, owner=replace(this_process(), pid=2**22 + 1))
    where = f"process {os.getpid()} on {platform.node()}"
    assert confirmation_status_line([begun, ended, failed, lost]) == (
        "confirmation: 2 timings and training runs have ended, of which 1 failed; "
        f"training of trial 7 is running in {where}"
    )
    assert status_document(_status(make_trial), [begun, ended, failed, lost])["repeats"] == {
        "ended": 2,
        "running": [
            {
                "trial": 7,
                "stage": "training",
                "seed": 2,
                "token_budget": 1_000,
                "host": platform.node(),
                "pid": os.getpid(),
            }
        ],
    }
