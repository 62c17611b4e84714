"""Drawings on a terminal, and the lines that are printed where there is none."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.text import Text

from nas.views.live_display import LiveDisplay, ProgressLine, live_display


class Work:
    """Work whose state a test sets, and what is printed about it."""

    def __init__(self, clock, capsys: pytest.CaptureFixture[str]) -> None:
        self.line: ProgressLine | None = None
        self._clock = clock
        self._capsys = capsys

    @contextmanager
    def shown(self) -> Iterator[LiveDisplay]:
        with live_display(self._drawing, lambda: self.line, self._clock) as display:
            self._display = display
            yield display

    def printed(self) -> list[str]:
        """Return the lines that were printed since the last call."""
        return self._capsys.readouterr().err.splitlines()

    def after(self, seconds: float, stage: str, activity: str = "", **facts: float) -> list[str]:
        """Let time pass, change the state, and return what is printed."""
        self._clock.now += seconds
        self.line = ProgressLine(stage=stage, activity=activity, **facts)
        self._display.update()
        return self.printed()

    def reminded_after(self, seconds: float) -> list[str]:
        """Let time pass without any change, and return what is printed."""
        self._clock.now += seconds
        self._display.remind()
        return self.printed()

    def _drawing(self) -> Text:
        assert self.line is not None
        return Text(f"a drawing of {self.line.stage}")


@pytest.fixture
def work(clock, capsys: pytest.CaptureFixture[str]) -> Work:
    return Work(clock, capsys)


def test_the_first_line_of_a_stage_is_printed_at_once_and_the_next_after_15_s(work: Work) -> None:
    with work.shown():
        assert work.after(0, "trial 7  latency") == ["trial 7  latency"]
        assert work.after(1, "trial 7  training") == ["trial 7  training"]
        assert work.after(7, "trial 7  training", "1,024 tokens", done=0.2) == []
        assert work.after(6, "trial 7  training", "2,048 tokens", done=0.3) == []
        assert work.after(2, "trial 7  training", "3,072 tokens", done=0.4) == [
            "trial 7  training: 40 %, 3,072 tokens"
        ]
        assert work.after(13, "trial 7  training", "4,096 tokens", done=0.5) == []
        assert work.after(0, "trial 8  training") == ["trial 8  training"]


@pytest.mark.parametrize(
    ("first", "later", "other"),
    [
        (
            "waiting for another measurement on this machine (pid 1)",
            "waiting for another measurement on this machine (pid 23)",
            "waiting for training on this machine to pause",
        ),
        (
            "gcc uses 80 % of core 1; waiting for up to 30 s for a quiet machine",
            "ld uses 70 % of core 0; waiting for up to 9 s for a quiet machine",
            "paused during a measurement on this machine",
        ),
    ],
)
def test_what_a_stage_waits_for_is_printed_at_once(
    work: Work, first: str, later: str, other: str
) -> None:
    with work.shown():
        work.after(0, "trial 7  latency")
        assert work.after(1, "trial 7  latency", "loading") == []
        assert work.after(1, "trial 7  latency", first) == [f"trial 7  latency: {first}"]
        assert work.after(1, "trial 7  latency", later) == []
        assert work.after(1, "trial 7  latency", other) == [f"trial 7  latency: {other}"]
        assert work.after(1, "trial 7  latency", "10 pairs") == []


def test_a_pause_that_is_repeated_within_15_s_is_one_line(work: Work) -> None:
    paused = "paused during a measurement on this machine"
    with work.shown():
        work.after(0, "trial 7  training")
        assert work.after(1, "trial 7  training", paused) == [f"trial 7  training: {paused}"]
        assert work.after(5, "trial 7  training", "2,048 tokens") == []
        assert work.after(5, "trial 7  training", paused) == []


def test_what_lasts_long_is_repeated_with_its_duration(work: Work) -> None:
    with work.shown():
        assert work.reminded_after(20) == []  # there is nothing to report yet
        assert work.after(0, "reading the corpus") == ["reading the corpus"]
        assert work.reminded_after(13) == []
        assert work.reminded_after(2) == ["reading the corpus (15 s so far)"]
        assert work.reminded_after(13) == []
        assert work.reminded_after(2) == ["reading the corpus (30 s so far)"]
        assert work.after(5, "reading the corpus", "file 2 of 9") == []
        assert work.reminded_after(10) == ["reading the corpus: file 2 of 9 (10 s so far)"]
        assert work.after(15, "reading the corpus", "file 3 of 9") == [
            "reading the corpus: file 3 of 9"
        ]


def test_a_result_counts_as_a_sign_of_life(work: Work) -> None:
    with work.shown() as display:
        work.after(0, "trial 7  training")
        work.after(10, "trial 7  training")
        display.print("a result [with brackets]")
        display.print_instead("a start")
        assert work.printed() == ["a result [with brackets]", "a start"]
        assert work.reminded_after(10) == []
        assert work.reminded_after(5) == ["trial 7  training (25 s so far)"]


def test_a_thread_prints_what_lasts_long(clock, capsys: pytest.CaptureFixture[str]) -> None:
    """The work itself may report nothing for minutes."""
    asked = threading.Event()

    def line() -> ProgressLine:
        if threading.current_thread() is not threading.main_thread():
            asked.set()
        return ProgressLine(stage="writing model.gguf")

    with live_display(lambda: "", line, clock):
        clock.now += 15
        assert asked.wait(timeout=300)  # it takes a second, but the machine may be busy
    assert capsys.readouterr().err == "writing model.gguf\n"
    assert not [each for each in threading.enumerate() if each.name == "progress lines"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (ProgressLine(stage="trial 7  latency"), "trial 7  latency"),
        (ProgressLine(stage="loading", done=0.004), "loading"),
        (ProgressLine(stage="training the proxy", done=0.42), "training the proxy: 42 %"),
        (
            ProgressLine(
                stage="trial 7  training",
                activity="168,000 tokens",
                done=0.42,
                stage_seconds_left=70.0,
                overall="3 of 40 trials done",
                seconds_left=720.0,
            ),
            "trial 7  training: 42 %, 168,000 tokens; about 70 s of this stage left; "
            "3 of 40 trials done, about 12 min left in all",
        ),
        (
            ProgressLine(stage="a", activity="loading", stage_seconds_left=0.0, seconds_left=4e3),
            "a: loading; about 67 min left in all",
        ),
        (
            ProgressLine(stage="a", others=tuple("bcdefghi"), overall="3 of 40 trials done"),
            "a; b; c; d; e; f; g; h; i; 3 of 40 trials done",
        ),
        (
            ProgressLine(stage="a", others=tuple("bcdefghijk"), overall="3 of 40 trials done"),
            "a; d; e; f; g; h; i; j; k; and 2 more; 3 of 40 trials done",
        ),
    ],
)
def test_a_line_states_what_is_known(line: ProgressLine, text: str) -> None:
    assert line.text() == text


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_results_stay_above_the_drawing(work: Work) -> None:
    work.line = ProgressLine(stage="trial 7  training")
    with work.shown() as display:
        display.print("a result")
        display.print_instead("a start")
        display.update()
        display.remind()
    shown = "".join(work.printed())
    assert "a drawing of trial 7" in shown
    assert "a result" in shown
    assert "a start" not in shown


@pytest.mark.usefixtures("terminal")
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with work.shown():
        assert work.after(0, "trial 7  training") == ["trial 7  training"]
