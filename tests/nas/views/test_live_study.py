from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.evaluator import Progress
from nas.views.live_study import ending, live_study, study_line, study_view
from nas.views.study_progress import StudyProgress
from search_space.preset_models import preset
from studies.records import Trial
from studies.search.events import (
    Remark,
    StageEnded,
    StageProgress,
    StageStarted,
    StudyStarted,
    TrialEnded,
    TrialRemeasured,
    TrialStarted,
)
from studies.spec.study_spec import StudySpec, to_json
from studies.spec.study_tables import Objective
from studies.storage.store import Store
from tests.studies.fakes import run_with_fakes, small_spec

SCORES = {"loss": 1.25, "decode": 12.5, "prefill": 345.6}


def test_it_shows_the_current_trial_and_its_progress(make_trial, spec, render, clock) -> None:
    progress = StudyProgress(spec, clock)
    running = make_trial(3, "running")
    progress.follow(StudyStarted(study="small", total=10, ended=0))
    assert "proposing the next candidate" in render(study_view(progress, progress.started_at))
    progress.follow(TrialStarted(trial=running))
    progress.follow(StageStarted(trial=running, stage="training"))
    clock.now = 10.0
    report = Progress(done=0.25, text="1,024 tokens, 3.100 bits/byte in training")
    progress.follow(StageProgress(trial=running, stage="training", progress=report))
    shown = render(study_view(progress, 10.0))
    assert "about 30 s left" in shown
    shown = render(study_view(progress, progress.started_at + 65))
    for fact in ("0 of 10 trials", "65 s so far", "trial 3", "ca" * 16, "354.5 million"):
        assert fact in shown
    for fact in ("training", "25 %", "1,024 tokens", "no candidate is complete yet"):
        assert fact in shown


def test_several_trials_at_work_have_a_line_each(make_trial, spec, render, clock) -> None:
    progress = StudyProgress(spec, clock)
    trained, measured = make_trial(3, "running"), make_trial(4, "running")
    progress.follow(StudyStarted(study="small", total=10, ended=0, parallel=2))
    progress.follow(TrialStarted(trial=trained))
    progress.follow(StageStarted(trial=trained, stage="training"))
    assert "million parameters" not in render(study_view(progress, 0.0))  # also with only one
    clock.now = 10.0
    report = Progress(done=0.25, text="1,024 tokens, 3.100 bits/byte in training")
    progress.follow(StageProgress(trial=trained, stage="training", progress=report))
    assert "about 30 s left" in render(study_view(progress, 10.0))
    progress.follow(TrialStarted(trial=measured))
    progress.follow(StageStarted(trial=measured, stage="latency"))
    first, second = render(study_view(progress, 11.0)).splitlines()[1:3]
    waiting = Progress(done=0.0, text="waiting for a quiet machine")
    progress.follow(StageProgress(trial=measured, stage="latency", progress=waiting))
    assert "waiting for a quiet machine" in render(study_view(progress, 11.0))
    assert first.split()[:2] == ["trial", "3"]
    assert first.rstrip().endswith("25 % paused")
    assert second.split()[:2] == ["trial", "4"]
    assert "latency" in second
    line = study_line(progress, 11.0)
    assert line is not None
    assert line.others == ("trial 3 training 25 % (paused)",)


def test_it_shows_the_front_so_far(make_trial, spec, render) -> None:
    progress = StudyProgress(spec)
    for trial in (
        make_trial(0, **SCORES),
        make_trial(1, **{name: 2 * value for name, value in SCORES.items()}),
        make_trial(2, "infeasible", reason="memory: 500 MB is above the limit of 400 MB"),
        make_trial(0, reference="lfm2-350m-all-attention", **SCORES),
        make_trial(4, duplicate_of=0, **SCORES),
    ):
        progress.follow(TrialEnded(trial=trial))
    shown = render(study_view(progress, progress.started_at))
    assert "4 of 10 trials (3 complete, 1 infeasible)" in shown
    assert "trial 0" in shown
    assert "trial 1" not in shown  # dominated
    assert "trial 4" not in shown  # the same architecture as trial 0
    assert "bits/byte" in shown
    assert "345.6" in shown


def test_a_front_of_four_objectives_leaves_20_layers_two_lines(make_trial, spec, render) -> None:
    objectives = (*spec.objectives, Objective(name="recall_error"))
    four = spec.model_copy(update={"objectives": objectives})
    progress = StudyProgress(four)
    trial = make_trial(0, layout="cacslcacc-" * 2, **SCORES, recall_error=0.4375)
    progress.follow(TrialEnded(trial=trial))
    lines = render(study_view(progress, progress.started_at)).splitlines()
    (first,) = [place for place, line in enumerate(lines) if "trial 0" in line]
    assert lines[first].split()[-4:] == ["1.250", "~12.50", "~345.6", "0.4375"]
    folded = lines[first].split()[2] + lines[first + 1].strip()
    assert folded == "cacslcacc-" * 2


@pytest.mark.usefixtures("terminal")
def test_a_study_that_was_interrupted_in_a_reference_can_be_shown(
    make_trial, spec: StudySpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store.open(f"sqlite:///{tmp_path}/nas.db") as store:
        store.add_study("small", to_json(spec))
        reference = store.claim_reference("small", "lfm2-350m")
        assert reference is not None
        store.interrupt(store.begin(reference, preset("lfm2-350m")))
        with live_study(spec, store) as listener:
            listener(StudyStarted(study="small", total=10, ended=0))
            reason = "memory: 500 MB is above the limit of 400 MB"
            listener(TrialEnded(trial=make_trial(2, "infeasible", reason=reason)))
    shown = " ".join(capsys.readouterr().err.split())
    assert "1 of 10 trials" in shown
    assert "500 MB is above the limit" in shown  # the line of an ended trial stays above the view


def test_without_a_terminal_every_ended_trial_is_a_line(
    make_trial, spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store.open(f"sqlite:///{tmp_path}/nas.db") as store:
        store.add_study("small", to_json(spec))
        with live_study(spec, store) as listener:
            listener(StudyStarted(study="small", total=10, ended=0, parallel=3))
            listener(TrialEnded(trial=make_trial(0, **SCORES)))
            listener(TrialEnded(trial=make_trial(1, "failed", reason="loss 9 nats")))
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        "small: 0 of 10 trials are done",
        "candidates are trained on 800,000 tokens each, 3 at a time",
    ]
    assert "loss 1.250 bits/byte, decode ~12.50 ms/token, prefill ~345.6 ms" in lines[2]
    assert lines[3] == "~ provisional: too uncertain to decide anything; measured again later"
    assert "failed" in lines[4]
    assert lines[4].endswith("; loss 9 nats")
    assert len(lines) == 5


def test_without_a_terminal_lines_state_the_stage_and_the_time_left(
    make_trial, spec, tmp_path: Path, clock, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(seconds: float, done: float, text: str) -> None:
        clock.now += seconds
        progress = Progress(done=done, text=text)
        listener(StageProgress(trial=running, stage="training", progress=progress))

    with Store.open(f"sqlite:///{tmp_path}/nas.db") as store:
        store.add_study("small", to_json(spec))
        with live_study(spec, store, clock) as listener:
            listener.say("reading the corpus")
            listener.say("reading the corpus: file 2 of 3")
            listener(StudyStarted(study="small", total=4, ended=0))
            first = make_trial(0, "running")
            listener(TrialStarted(trial=first))
            listener(StageStarted(trial=first, stage="latency"))
            clock.now += 100.0
            listener(TrialEnded(trial=make_trial(0, **SCORES)))
            running = make_trial(1, "running")
            listener(TrialStarted(trial=running))
            listener(StageStarted(trial=running, stage="training"))
            report(10.0, 0.2, "1,000 tokens")
            report(10.0, 0.4, "2,000 tokens")
            report(1.0, 0.4, "paused during a measurement on this machine")
            listener(TrialEnded(trial=make_trial(1, "failed", reason="loss 9 nats")))
            reference = make_trial(0, "running", reference="lfm2-350m")
            listener(TrialStarted(trial=reference))
            listener(StageStarted(trial=reference, stage="latency"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[4].startswith("trial 0        complete ")
    assert lines[5].startswith("~ provisional: ")
    assert lines[9].startswith("trial 1        failed ")
    del lines[9], lines[5], lines[4]
    assert lines == [
        "small  reading the corpus",
        "small: 0 of 4 trials are done",
        "candidates are trained on 800,000 tokens each",
        "trial 0  latency; 0 of 4 trials done",
        # One trial took 100 s, so three take 300 s.
        "trial 1  training; 1 of 4 trials done, about 5 min left in all",
        # 20 % take 10 s.
        "trial 1  training: 40 %, 2,000 tokens; about 30 s of this stage left; 1 of 4 trials done, "
        "about 5 min left in all",
        "trial 1  training: 40 %, paused during a measurement on this machine; 1 of 4 trials done, "
        "about 5 min left in all",
        "reference lfm2-350m  latency; 2 of 4 trials done, about 2 min left in all",
    ]


def test_times_that_are_measured_again_are_shown_with_the_earlier_ones(
    make_trial, spec, tmp_path: Path, clock, capsys: pytest.CaptureFixture[str]
) -> None:
    first = make_trial(0, **SCORES)  # provisional, because no interval is known
    scores = (
        replace(each, value=11.0, low=10.9, high=11.1) if each.name == "decode" else each
        for each in first.scores
    )
    second = replace(first, scores=tuple(scores))
    with Store.open(f"sqlite:///{tmp_path}/nas.db") as store:
        store.add_study("small", to_json(spec))
        with live_study(spec, store, clock) as listener:
            listener(StudyStarted(study="small", total=4, ended=0))
            listener(TrialEnded(trial=first))
            listener(StageStarted(trial=first, stage="latency"))
            listener(TrialRemeasured(trial=second, earlier=first.scores))
            listener(TrialRemeasured(trial=second, earlier=second.scores))
            listener(StageStarted(trial=second, stage="text"))
            listener(StageEnded(trial=second, stage="text", evaluation=None, seconds=1.0))
            listener(Remark(text="the reference model takes 2 % longer than before"))
            listener(StageStarted(trial=make_trial(1, "running"), stage="latency"))
    assert capsys.readouterr().err.splitlines()[3:] == [
        "~ provisional: too uncertain to decide anything; measured again later",
        "trial 0  measuring its times again; 1 of 4 trials done",
        "trial 0        remeasured  decode 11.00 ±0.10 ms/token (before: ~12.50)",
        "±: half the width of the 95 % confidence interval",
        "trial 0        remeasured  decode 11.00 ±0.10 ms/token (as before), prefill ~345.6 ms "
        "(as before)",
        "trial 0  computing its times per byte of text again; 1 of 4 trials done",
        "the reference model takes 2 % longer than before",
        "trial 1  latency; 1 of 4 trials done",
    ]


def test_an_earlier_value_is_the_one_that_was_shown_last(
    make_trial, spec, tmp_path: Path, clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Meanwhile, the reference model's time was estimated again, which changed the stored times."""

    def with_decode(value: float) -> Trial:
        return make_trial(0, **SCORES | {"decode": value})

    with Store.open(f"sqlite:///{tmp_path}/nas.db") as store:
        store.add_study("small", to_json(spec))
        with live_study(spec, store, clock) as listener:
            listener(StudyStarted(study="small", total=4, ended=0))
            listener(TrialEnded(trial=with_decode(12.5)))
            for value in (13.5, 14.5):
                recomputed = with_decode(value - 0.01)
                listener(TrialRemeasured(trial=with_decode(value), earlier=recomputed.scores))
    lines = [line for line in capsys.readouterr().err.splitlines() if "remeasured" in line]
    assert [line.partition("decode ")[2] for line in lines] == [
        "~13.50 ms/token (before: ~12.50)",
        "~14.50 ms/token (before: ~13.50)",
    ]


def test_the_times_of_earlier_runs_are_those_that_were_stored_when_the_run_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = small_spec(f"sqlite:///{tmp_path}/nas.db", trials=2)
    with Store.open(spec.storage) as store:
        (trial, _) = run_with_fakes(spec, store)
        with live_study(spec, store) as listener:
            listener(StudyStarted(study="small", total=2, ended=2))
            listener(TrialRemeasured(trial=faster(trial, 0.5), earlier=faster(trial, 0.6).scores))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "remeasured" in line]
    assert f"(before: {trial.values['decode']:#.4g})" in line.replace("~", "")


def faster(trial: Trial, factor: float) -> Trial:
    scores = (
        replace(each, value=factor * each.value) if each.name == "decode" else each
        for each in trial.scores
    )
    return replace(trial, scores=tuple(scores))


def test_a_repeated_measurement_that_fails_is_not_shown_any_more(make_trial, spec, render) -> None:
    progress = StudyProgress(spec)
    ended = make_trial(0, **SCORES)
    progress.follow(TrialEnded(trial=ended))
    progress.follow(StageStarted(trial=ended, stage="latency"))
    assert "measuring its times again" in render(study_view(progress, progress.started_at))
    progress.follow(StageEnded(trial=ended, stage="latency", evaluation=None, seconds=1.0))
    shown = render(study_view(progress, progress.started_at))
    assert "latency" not in shown
    assert "proposing the next candidate" in shown


def test_a_candidate_that_is_resumed_counts_as_running(make_trial, spec, render) -> None:
    """Times that are measured again may show that it meets the limits after all."""
    progress = StudyProgress(spec)
    progress.follow(TrialEnded(trial=make_trial(0, "infeasible", reason="decode: 50 ms")))
    progress.follow(TrialStarted(trial=make_trial(0, "running")))
    assert "0 of 10 trials" in render(study_view(progress, progress.started_at))
    progress.follow(TrialEnded(trial=make_trial(0, **SCORES)))
    progress.follow(TrialRemeasured(trial=make_trial(0, **{**SCORES, "decode": 99.5}), earlier=()))
    shown = render(study_view(progress, progress.started_at))
    assert "1 of 10 trials (1 complete)" in shown
    assert "99.50" in shown


def test_a_lowered_number_of_trials_is_stated_next_to_what_has_ended(
    make_trial, spec, tmp_path: Path, render, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store.open(f"sqlite:///{tmp_path}/nas.db") as store:
        store.add_study("small", to_json(spec))
        with live_study(spec, store) as listener:
            listener(StudyStarted(study="small", total=2, ended=4))
    assert capsys.readouterr().err == "small: 4 trials (2 requested) are done\n"
    progress = StudyProgress(spec.model_copy(update={"trials": 2}))
    for number in range(4):
        progress.follow(TrialEnded(trial=make_trial(number, **SCORES)))
    shown = render(study_view(progress, progress.started_at))
    assert "small  4 trials (2 requested) (4 complete)" in shown


def test_a_line_states_that_a_candidate_is_proposed_until_all_have_ended(make_trial, spec) -> None:
    progress = StudyProgress(spec.model_copy(update={"trials": 1}))
    line = study_line(progress, progress.started_at)
    assert line is not None
    assert line.text() == "small  proposing the next candidate; 0 of 1 trials done"
    progress.follow(TrialEnded(trial=make_trial(0, **SCORES)))
    assert study_line(progress, progress.started_at) is None


def test_the_last_line_of_a_duplicate_names_the_earlier_trial(make_trial, spec) -> None:
    assert ending(make_trial(7, duplicate_of=2, **SCORES), spec).plain.endswith(
        "(duplicate of trial 2)"
    )
