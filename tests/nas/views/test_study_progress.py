"""The estimated time left of a study, from events on a fake clock and from stored trials."""

from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.evaluator import Evaluation, Progress
from nas.views.study_progress import StudyProgress
from studies.records import StageRun, Trial
from studies.search.events import (
    StageEnded,
    StageProgress,
    StageStarted,
    StudyStarted,
    TrialEnded,
    TrialStarted,
)
from studies.storage.store import Store
from tests.studies.fakes import run_with_fakes, small_spec

SCORES = {"loss": 1.25, "decode": 12.5, "prefill": 345.6}


def _timed(trial: Trial, *seconds: float) -> Trial:
    """Return the trial with stages that took this long."""
    stages = (StageRun(stage=f"{each}", fingerprint="", seconds=each) for each in seconds)
    return replace(trial, stages=tuple(stages))


def test_the_time_left_is_that_of_the_remaining_candidates(make_trial, spec) -> None:
    progress = StudyProgress(spec)
    progress.follow(TrialStarted(trial=make_trial(0, "running")))
    assert progress.seconds_left(progress.started_at) is None
    progress.follow(TrialEnded(trial=make_trial(0, **SCORES)))
    progress.candidates_from, progress.candidate_ended_at = 100.0, 120.0
    assert progress.seconds_left(125.0) == pytest.approx(9 * 20 - 5)
    assert progress.seconds_left(10_000.0) == 0.0


def test_a_resumed_study_estimates_the_time_left_from_earlier_runs(make_trial, spec, clock) -> None:
    progress = StudyProgress(spec, clock)
    progress.follow(StudyStarted(study="small", total=10, ended=2))
    progress.ended = [_timed(make_trial(0), 30.0, 50.0), _timed(make_trial(1), 40.0)]
    assert progress.seconds_left(0.0) == pytest.approx(8 * 60)
    progress.follow(TrialStarted(trial=make_trial(2, "running")))
    assert progress.seconds_left(10.0) == pytest.approx(8 * 60 - 10)
    clock.now = 20.0
    progress.follow(TrialEnded(trial=make_trial(2)))  # after 20 s
    assert progress.seconds_left(20.0) == pytest.approx(7 * 20)


def test_candidates_at_the_same_time_take_less_time_than_one_after_the_other(
    make_trial, spec, clock
) -> None:
    progress = StudyProgress(spec, clock)
    progress.follow(StudyStarted(study="small", total=10, ended=2, parallel=4))
    progress.ended = [_timed(make_trial(0), 30.0, 50.0), _timed(make_trial(1), 40.0)]
    assert progress.seconds_left(0.0) == pytest.approx(8 * 60 / 4)
    for number in (2, 3):
        progress.follow(TrialStarted(trial=make_trial(number, "running")))
    clock.now = 20.0
    for number in (2, 3):  # in the cache, which saves 100 s each
        evaluation = Evaluation(scores=(), seconds=120.0)
        ended = StageEnded(
            trial=make_trial(number, "running"), stage="0", evaluation=evaluation, seconds=20.0
        )
        progress.follow(ended)
        progress.follow(TrialEnded(trial=make_trial(number)))
    # Two candidates in the 20 s that they took, and in a fourth of the 200 s that they saved.
    assert progress.seconds_left(20.0) == pytest.approx(6 * (20 + 200 / 4) / 2)


def test_candidates_at_work_count_half(make_trial, spec, clock) -> None:
    progress = StudyProgress(spec, clock)
    progress.follow(StudyStarted(study="small", total=10, ended=0, parallel=3))
    for number in range(3):
        progress.follow(TrialStarted(trial=make_trial(number, "running")))
    clock.now = 40.0
    progress.follow(TrialEnded(trial=make_trial(1)))
    # One and two halves in 40 s are 20 s for each; eight are left, of which two halves are done.
    assert progress.seconds_left(40.0) == pytest.approx(20 * (9 - 1))


def test_a_measurement_pauses_the_other_trials_at_work(make_trial, spec, clock) -> None:
    progress = StudyProgress(spec, clock)
    progress.follow(StudyStarted(study="small", total=10, ended=0, parallel=2))
    trained, measured = make_trial(0, "running"), make_trial(1, "running")
    progress.follow(StageStarted(trial=trained, stage="training"))
    clock.now = 10.0
    report = Progress(done=0.5, text="half of the tokens")
    progress.follow(StageProgress(trial=trained, stage="training", progress=report))
    stage = progress.at_work[trained.id].stage
    assert stage is not None
    assert stage.seconds_left(clock.now) == pytest.approx(10.0)
    progress.follow(StageStarted(trial=measured, stage="latency"))
    assert progress.is_paused(trained)
    assert not progress.is_paused(measured)
    clock.now = 17.0
    progress.follow(StageEnded(trial=measured, stage="latency", evaluation=None, seconds=7.0))
    assert not progress.is_paused(trained)
    assert stage.seconds_left(clock.now) == pytest.approx(10.0)


def test_a_candidate_that_a_higher_limit_resumes_needs_only_the_stages_that_it_lacks(
    make_trial, spec, clock
) -> None:
    """Both others took 10 s in stage 0 and 30 s in stage 1."""
    for stages, seconds_left in (((10.0,), 30.0), ((10.0, 30.0), 0.0)):
        progress = StudyProgress(spec.model_copy(update={"trials": 3}), clock)
        progress.follow(StudyStarted(study="small", total=3, ended=3))
        others = [_staged(make_trial(number), 10.0, 30.0) for number in (0, 1)]
        progress.ended = [*others, _staged(make_trial(2, "infeasible"), *stages)]
        progress.follow(TrialStarted(trial=make_trial(2, "running")))
        assert progress.seconds_left(clock.now) == pytest.approx(seconds_left)


def _staged(trial: Trial, *seconds: float) -> Trial:
    """Return the trial with stages 0, 1 and so on that took this long."""
    stages = (
        StageRun(stage=str(place), fingerprint="", seconds=each)
        for place, each in enumerate(seconds)
    )
    return replace(trial, stages=tuple(stages))


def test_a_cached_evaluation_counts_with_the_time_that_it_took(make_trial, spec, clock) -> None:
    """After `nas run --restart`, the first candidates may be in the cache, and later ones not."""
    progress = StudyProgress(spec, clock)
    progress.follow(StudyStarted(study="small", total=10, ended=0))
    for number, took in ((0, 1.0), (1, 40.0)):  # the first one is cached
        running = make_trial(number, "running")
        progress.follow(TrialStarted(trial=running))
        clock.now += took
        evaluation = Evaluation(scores=(), seconds=40.0)
        progress.follow(
            StageEnded(trial=running, stage="training", evaluation=evaluation, seconds=took)
        )
        progress.follow(TrialEnded(trial=make_trial(number, **SCORES)))
    assert progress.seconds_left(clock.now) == pytest.approx(8 * 40)


def test_cached_evaluations_of_a_reference_model_do_not_count(make_trial, spec, clock) -> None:
    progress = StudyProgress(spec, clock)
    progress.follow(StudyStarted(study="small", total=10, ended=0))
    reference = make_trial(0, "running", reference="lfm2-350m")
    candidate = make_trial(0, "running")
    progress.follow(TrialStarted(trial=candidate))
    evaluation = Evaluation(scores=(), seconds=900.0)
    progress.follow(
        StageEnded(trial=reference, stage="training", evaluation=evaluation, seconds=0.0)
    )
    clock.now = 20.0
    progress.follow(TrialEnded(trial=make_trial(0, **SCORES)))
    assert progress.seconds_left(clock.now) == pytest.approx(9 * 20)


def test_stored_trials_count_with_the_time_that_their_evaluations_took(tmp_path: Path) -> None:
    """The fakes report 2 s for a timing and 30 s for a training, which they need no time for."""
    spec = small_spec(f"sqlite:///{tmp_path}/nas.db", trials=4)
    with Store.open(spec.storage) as store:
        trials = run_with_fakes(spec, store)
        progress = StudyProgress(spec)
        progress.follow(StudyStarted(study="small", total=8, ended=4))
        progress.read_earlier(store)
    complete = sum(trial.state == "complete" for trial in trials)
    assert complete > 0
    expected = 4 * (2.0 * len(trials) + 30.0 * complete) / len(trials)
    assert progress.seconds_left(0.0) == pytest.approx(expected, rel=0.1)
