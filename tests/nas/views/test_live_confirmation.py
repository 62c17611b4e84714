"""The view of a confirmation, with and without a terminal."""

import pytest

from evaluators.evaluator import Progress, Score
from nas.views.live_confirmation import LiveConfirmation, live_confirmation
from nas.workflows.front_confirmation import ConfirmationPlan
from studies.confirmation.confirmation_run import (
    ConfirmationJob,
    JobEnded,
    JobProgress,
    JobStarted,
)
from tests.nas.views.conftest import FakeClock, MakeTrial
from tests.studies.fakes import latency, training


def _confirm(listen: LiveConfirmation, clock: FakeClock, make_trial: MakeTrial) -> None:
    """Report a timing of 40 s, then the first 30 s of a retraining."""
    trial = make_trial(7, layout="ca")
    timing = ConfirmationJob(trial=trial, evaluator=latency())
    run = ConfirmationJob(trial=trial, evaluator=training(), seed=3, token_budget=400_000)
    listen.say("reading the corpus")
    listen(
        ConfirmationPlan(
            study="small",
            on_front=1,
            runners_up=0,
            seeds=1,
            short_tokens=400_000,
            long_tokens=1_600_000,
            is_inherited=False,
            seconds_left={timing.key: 20.0, run.key: 100.0},
            done_before=2,
        )
    )
    listen(JobStarted(job=timing))
    clock.now += 40.0
    score = Score(name="decode", value=12.5, unit="ms/token")
    listen(JobEnded(job=timing, scores=(score,), reason=None))
    listen(JobStarted(job=run))
    for done in (0.1, 0.2, 0.3):
        clock.now += 10.0
        text = f"{400_000 * done:,.0f} tokens"
        listen(JobProgress(job=run, progress=Progress(done=done, text=text)))


def test_without_a_terminal_lines_state_the_job_and_the_time_left(
    make_trial, clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_confirmation(clock) as listen:
        _confirm(listen, clock, make_trial)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading the corpus"
    assert lines[2] == "1 timing and 1 training run are left, about 2 min; 2 are done"
    assert lines[3:] == [
        "trial 7  latency; 2 of 4 timings and training runs done, about 2 min left in all",
        "trial 7    ca  decode 12.50 ms/token",
        # The timing took twice as long as expected, and so will the retraining.
        "trial 7  training  seed 3, 400,000 tokens; 3 of 4 timings and training runs done, "
        "about 3 min left in all",
        "trial 7  training  seed 3, 400,000 tokens: 20 %, 80,000 tokens; about 80 s of this stage "
        "left; 3 of 4 timings and training runs done, about 3 min left in all",
    ]


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_the_same_facts_are_drawn(
    make_trial, clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_confirmation(clock) as listen:
        _confirm(listen, clock, make_trial)
    shown = capsys.readouterr().err
    for fact in (
        "3 of 4 timings and training runs",
        "seed 3, 400,000 tokens",
        "30 %",
        "about 70 s left",
        "120,000 tokens",
    ):
        assert fact in shown
