"""The view of a confirmation, with and without a terminal."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from rich.text import Text

from evaluators.evaluator import Progress, Score
from nas.views.live_confirmation import LiveConfirmation, live_confirmation
from nas.workflows.front_confirmation import ConfirmationPlan
from studies.confirmation.confirmation_run import (
    ConfirmationJob,
    JobEnded,
    JobProgress,
    JobStarted,
)
from studies.records import ConfirmationKey
from studies.spec.study_spec import StudySpec
from tests.nas.calibrated import calibrated
from tests.nas.views.conftest import FakeClock, MakeTrial
from tests.studies.fakes import latency, training


def _plan(spec: StudySpec, seconds_left: Mapping[ConfirmationKey, float]) -> ConfirmationPlan:
    return ConfirmationPlan(
        spec=spec,
        on_front=1,
        runners_up=0,
        seeds=1,
        long_tokens=1_600_000,
        seconds_left=seconds_left,
        done_before=2,
    )


def _confirm(
    listen: LiveConfirmation, clock: FakeClock, make_trial: MakeTrial, spec: StudySpec
) -> None:
    """Report a timing of 40 s, then the first 30 s of a retraining."""
    trial = make_trial(7, layout="ca")
    timing = ConfirmationJob(trial=trial, evaluator=latency())
    run = ConfirmationJob(trial=trial, evaluator=training(), seed=3, token_budget=800_000)
    listen.say("reading the corpus")
    listen(_plan(spec, {timing.key: 20.0, run.key: 100.0}))
    listen(JobStarted(job=timing))
    clock.now += 40.0
    score = calibrated(Score(name="decode", value=12.5, unit="ms/token"))
    listen(JobEnded(job=timing, scores=(score,), reason=None))
    listen(JobStarted(job=run))
    for done in (0.1, 0.2, 0.3):
        clock.now += 10.0
        text = f"{800_000 * done:,.0f} tokens"
        listen(JobProgress(job=run, progress=Progress(done=done, text=text)))


def test_without_a_terminal_lines_state_the_job_and_the_time_left(
    make_trial, spec, clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_confirmation(clock) as listen:
        _confirm(listen, clock, make_trial, spec)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading the corpus"
    assert lines[1] == (
        "small: 1 member of the front; each is measured again, retrained with 1 new seed on "
        "800,000 tokens, and retrained with another seed on 1,600,000 tokens"
    )
    assert lines[2] == "1 timing and 1 training run are left, about 2 min; 2 are done"
    assert lines[3:] == [
        "trial 7  latency; 2 of 4 timings and training runs done, about 2 min left in all",
        "trial 7    ca  decode 12.50 ±0.28 ms/token",
        "±: half the width of the 95 % confidence interval",
        # The timing took twice as long as expected, and so will the retraining.
        "trial 7  training  seed 3, 800,000 tokens; 3 of 4 timings and training runs done, "
        "about 3 min left in all",
        "trial 7  training  seed 3, 800,000 tokens: 20 %, 160,000 tokens; about 80 s of this stage "
        "left; 3 of 4 timings and training runs done, about 3 min left in all",
    ]


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_the_same_facts_are_drawn(
    make_trial, spec, clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_confirmation(clock) as listen:
        _confirm(listen, clock, make_trial, spec)
    shown = capsys.readouterr().err
    for fact in (
        "3 of 4 timings and training runs",
        "seed 3, 800,000 tokens",
        "30 %",
        "about 70 s left",
        "240,000 tokens",
    ):
        assert fact in shown


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("lines", "first", "last"), [(12, 1, None), (11, 3, "and 2 more")])
def test_as_many_jobs_are_drawn_as_fit_on_the_terminal(
    make_trial,
    spec,
    clock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lines: int,
    first: int,
    last: str | None,
) -> None:
    """Ten retrainings, a headline and a free line for the cursor take twelve lines."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", str(lines))
    jobs = [
        ConfirmationJob(
            trial=make_trial(number, layout="ca"),
            evaluator=training(),
            seed=3,
            token_budget=800_000,
        )
        for number in range(1, 11)
    ]
    with live_confirmation(clock) as listen:
        listen(_plan(spec, {job.key: 100.0 for job in jobs}))
        for job in jobs:
            listen(JobStarted(job=job))
        listen(JobProgress(job=jobs[9], progress=Progress(done=0.3, text="240,000 tokens")))
    # The last drawing follows the last headline.
    last_drawing = Text.from_ansi(capsys.readouterr().err).plain.rpartition("small  2 of 12 ")[2]
    shown = [line.strip() for line in last_drawing.splitlines()[1:] if line.strip()]
    rows = [line for line in shown if line.startswith("trial")]
    assert [int(row.split()[1]) for row in rows] == list(range(first, 11))
    assert all("ca seed 3, 800,000 tokens" in row for row in rows)
    assert "30 %" in rows[-1]
    assert (shown[-1] if last is not None else None) == last


def test_a_time_that_remains_provisional_is_marked(
    make_trial, spec, clock, capsys: pytest.CaptureFixture[str]
) -> None:
    timing = ConfirmationJob(trial=make_trial(7, layout="ca"), evaluator=latency())
    score = Score(name="decode", value=12.5, unit="ms/token")
    with live_confirmation(clock) as listen:
        listen(_plan(spec, {timing.key: 20.0}))
        doubtful = calibrated(score, half_width=0.5, provisional=True)
        for found in (calibrated(score), doubtful, doubtful):
            listen(JobStarted(job=timing))
            listen(JobEnded(job=timing, scores=(found,), reason=None))
    lines = capsys.readouterr().err.splitlines()
    results = [line.partition("ca  ")[2] for line in lines if "ms/token" in line]
    assert results == [
        "decode 12.50 ±0.28 ms/token",
        "decode ~12.50 (7.579 to 20.62) ms/token",
        "decode ~12.50 (7.579 to 20.62) ms/token",
    ]
    legend = "~ provisional: too uncertain to decide anything; measured again later"
    (place,) = [place for place, line in enumerate(lines) if line == legend]
    assert "~12.50" in lines[place - 1]


def test_cache_hits_do_not_shorten_the_time_left(
    make_trial, spec, clock, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = make_trial(7, layout="ca")
    jobs = [
        ConfirmationJob(trial=trial, evaluator=training(), seed=seed, token_budget=800_000)
        for seed in (3, 4, 5)
    ]
    cached, trained, left = jobs
    with live_confirmation(clock) as listen:
        listen(_plan(spec, {job.key: 100.0 for job in jobs}))
        listen(JobStarted(job=cached))
        listen(JobEnded(job=cached, scores=(), reason=None))
        listen(JobStarted(job=trained))
        clock.now += 200.0
        listen(JobEnded(job=trained, scores=(), reason=None))
        listen(JobStarted(job=left))
    # One training run took twice as long as expected, so the other one will.
    assert "about 3 min left in all" in capsys.readouterr().err.splitlines()[-1]


def test_the_plan_names_runners_up_with_unexpected_losses(
    spec: StudySpec, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_confirmation() as listen:
        listen(_plan(spec, {}))
        listen(replace(_plan(spec, {}), first=(5, 7)))
    without, with_names = capsys.readouterr().err.split("small: ")[1:]
    assert "come first" not in without
    assert "trials 5 and 7 come first among the runners-up" in " ".join(with_names.split())
