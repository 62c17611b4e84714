"""The time left of a stage, and the view of commands that report their progress stage by stage."""

import pytest

from evaluators.evaluator import Progress
from nas.views.live_stage import LiveStage, live_progress, live_text


def _report(stage: LiveStage, now: float, done: float, text: str = "") -> None:
    stage.follow(Progress(done=done, text=text), now)


def test_the_time_left_excludes_the_preparation() -> None:
    stage = LiveStage("training", now=100.0)
    _report(stage, 100.0, 0.0, "training a tokenizer of 4,096 tokens")
    _report(stage, 160.0, 0.0, "encoding the text")
    assert stage.seconds_left(160.0) is None
    _report(stage, 180.0, 0.25)  # 20 s for a quarter
    assert stage.seconds_left(180.0) == pytest.approx(60.0)
    assert stage.seconds_left(190.0) == pytest.approx(50.0)
    assert stage.seconds_left(300.0) == 0.0


def test_nothing_is_estimated_from_a_single_step() -> None:
    stage = LiveStage("training", now=0.0)
    _report(stage, 1.0, 0.01)
    assert stage.seconds_left(1.0) is None


def test_a_pause_does_not_count_as_work() -> None:
    stage = LiveStage("training", now=0.0)
    _report(stage, 50.0, 0.5)
    _report(stage, 51.0, 0.5, "paused during a measurement on this machine")
    assert stage.seconds_left(100.0) is None  # nobody knows how long the pause is
    _report(stage, 351.0, 0.5, "25,600 tokens")
    _report(stage, 352.0, 0.52)  # 1 % per second before and after
    assert stage.seconds_left(352.0) == pytest.approx(48.0)


def test_work_that_is_repeated_is_estimated_again() -> None:
    stage = LiveStage("latency", now=0.0)
    _report(stage, 20.0, 1.0)
    _report(stage, 20.0, 0.0, "decode: 9 is far from its prediction; measuring it two more times")
    assert stage.seconds_left(20.0) is None
    _report(stage, 24.0, 0.5)
    assert stage.seconds_left(24.0) == pytest.approx(4.0)


def test_without_a_terminal_a_text_up_to_its_colon_names_a_stage(
    clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_progress(clock=clock) as report:
        report(Progress(done=0.0, text="training the proxy"))
        report(Progress(done=0.0, text="training the proxy: encoding the text"))
        clock.now = 8.0
        report(Progress(done=0.1, text="training the proxy: 1,000 tokens"))
        clock.now = 16.0
        report(Progress(done=0.2, text="training the proxy: 2,000 tokens"))
        report(Progress(done=0.0, text="writing model.gguf"))
    assert capsys.readouterr().err.splitlines() == [
        "training the proxy",
        "training the proxy: 20 %, 2,000 tokens; about 64 s of this stage left",
        "writing model.gguf",
    ]


def test_what_a_command_waits_for_is_printed_at_once(
    clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_text(clock=clock) as say:
        say("timing a randomly drawn architecture")
        say("timing a randomly drawn architecture: loading")
        say("timing a randomly drawn architecture: waiting for another measurement")
    assert capsys.readouterr().err.splitlines() == [
        "timing a randomly drawn architecture",
        "timing a randomly drawn architecture: waiting for another measurement",
    ]


def test_a_fast_command_prints_nothing_unless_it_takes_15_s(
    clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_text(at_once=False, clock=clock) as say:
        say("reading the study")
        clock.now = 10.0
        say("writing the report")
        assert capsys.readouterr().err == ""
        clock.now = 15.0
        say("writing the report: page 2")
    assert capsys.readouterr().err == "writing the report: page 2\n"


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_the_latest_progress_is_drawn(
    clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_progress(clock=clock) as report:
        clock.now = 10.0
        report(Progress(done=0.5, text="training the proxy: 5 tokens"))
    assert "training the proxy: 50 %, 5 tokens" in capsys.readouterr().err
