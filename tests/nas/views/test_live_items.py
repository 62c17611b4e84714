"""The view of work on a list of items, such as the models of `nas measure`."""

import pytest

from nas.views.live_items import ItemTimes, live_items
from nas.workflows.work_progress import WorkProgress


def _progress(subject: str, text: str, done: int = 0, total: int = 4) -> WorkProgress:
    return WorkProgress(subject=subject, text=text, done=done, total=total)


def test_without_a_terminal_every_item_is_a_line_and_every_15_s(
    clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_items("models", 30.0, clock) as listen:
        listen(_progress("a", "loading"))
        listen(_progress("a", "pp16: 3 pairs"))
        clock.now = 20.0
        listen(_progress("a", "pp16: 9 pairs"))
        clock.now = 22.0
        listen(_progress("b", "loading", done=1))
    assert capsys.readouterr().err.splitlines() == [
        "a: loading; 0 of 4 models done, about 2 min left in all",
        "a: pp16: 9 pairs; 0 of 4 models done, about 2 min left in all",
        "b: loading; 1 of 4 models done, about 66 s left in all",
    ]


def test_a_wait_has_no_subject_and_is_printed_once(
    clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_items("models", 30.0, clock) as listen:
        listen(_progress("", "waiting for training on this machine to pause"))
        clock.now = 2.0
        listen(_progress("", "waiting for training on this machine to pause"))
    assert capsys.readouterr().err.splitlines() == [
        "waiting for training on this machine to pause; 0 of 4 models done, about 2 min left in all"
    ]


def test_items_that_need_no_time_of_their_own_and_repeats_do_not_mislead(clock) -> None:
    times = ItemTimes(10.0, clock)
    times.follow(WorkProgress(subject="b", text="loading", done=0, total=3, effortless=1))
    assert times.seconds_left() == pytest.approx(20.0)
    clock.now = 8.0
    times.follow(WorkProgress(subject="c", text="loading", done=1, total=3, effortless=1))
    assert times.seconds_left() == pytest.approx(8.0)
    clock.now = 16.0
    times.follow(WorkProgress(subject="c, run 2", text="loading", done=2, total=3))
    assert times.seconds_left() == pytest.approx(8.0)


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_the_latest_progress_is_drawn(
    clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_items("models", 5.0, clock) as listen:
        listen(_progress("b", "loading", done=1))
    assert "b: loading; 1 of 4 models done, about 15 s left" in capsys.readouterr().err


def test_the_time_left_is_expected_first_and_measured_later(clock) -> None:
    times = ItemTimes(10.0, clock)
    assert times.seconds_left() is None
    clock.now = 100.0
    times.follow(_progress("c", "loading", done=2, total=8))  # two are from an earlier run
    assert times.seconds_left() == pytest.approx(60.0)
    clock.now = 103.0
    times.follow(_progress("c", "timing", done=2, total=8))
    assert times.seconds_left() == pytest.approx(57.0)
    clock.now = 104.0
    times.follow(_progress("d", "loading", done=3, total=8))  # 4 s for one
    assert times.seconds_left() == pytest.approx(20.0)
    clock.now = 107.0
    assert times.seconds_left() == pytest.approx(17.0)
    clock.now = 900.0
    assert times.seconds_left() == 0.0
