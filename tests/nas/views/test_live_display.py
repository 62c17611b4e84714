"""How work in progress is shown, with and without a terminal."""

import pytest
from rich.text import Text

from nas.views.live_display import live_display, live_items, live_text
from nas.workflows.work_progress import WorkProgress


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")


def _progress(subject: str, text: str, done: int = 0) -> WorkProgress:
    return WorkProgress(subject=subject, text=text, done=done, total=2)


def test_without_a_terminal_every_item_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with live_items() as listen:
        listen(_progress("a", "loading"))
        listen(_progress("a", "pp16"))
        listen(_progress("b", "loading", done=1))
    assert capsys.readouterr().err == "a: loading\nb: loading\n"


def test_without_a_terminal_text_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with live_text() as say:
        say("reading the corpus")
    assert capsys.readouterr().err == ""


def test_without_a_terminal_nothing_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    def view() -> Text:
        raise AssertionError("there is nothing to draw on")

    with live_display(view) as display:
        display.print("a result [with brackets]")
        display.print_instead("a start")
    assert capsys.readouterr().err == "a result [with brackets]\na start\n"


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_results_stay_above_the_drawing(capsys: pytest.CaptureFixture[str]) -> None:
    with live_display(lambda: Text("a drawing")) as display:
        display.print("a result")
        display.print_instead("a start")
    shown = capsys.readouterr().err
    assert "a drawing" in shown
    assert "a result" in shown
    assert "a start" not in shown


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_the_latest_text_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with live_items() as listen:
        listen(_progress("b", "loading", done=1))
    assert "1 of 2 done, b: loading" in capsys.readouterr().err
