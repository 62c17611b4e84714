"""The rows of the trials at work, on terminals of different heights."""

from io import StringIO

import pytest
from rich.console import Console

from evaluators.evaluator import Progress
from nas.views.live_rows import LiveRow, LiveRows
from nas.views.live_stage import LiveStage
from tests.nas.views.conftest import MakeTrial


def row(make_trial: MakeTrial, number: int, *, is_paused: bool = False) -> LiveRow:
    stage = LiveStage("training", 0.0)
    stage.follow(Progress(done=0.25, text="1,024 tokens"), 10.0)
    trial = make_trial(number, "running", layout="ca")
    return LiveRow(
        title=trial.title, model=trial.model, label="label", stage=stage, is_paused=is_paused
    )


def drawn(rows: list[LiveRow], height: int, other_lines: int) -> list[str]:
    console = Console(file=StringIO(), width=80, height=height, color_system=None)
    console.print(LiveRows(rows, 10.0, other_lines=other_lines))
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("height", "other_lines", "shown", "last"),
    [
        (30, 9, 20, None),  # 9 + 20 + 1 lines
        (29, 9, 18, "and 2 more"),
        (30, 10, 18, "and 2 more"),
        (20, 14, 4, "and 16 more"),
        (5, 14, 3, "and 17 more"),  # there are at least four lines
    ],
)
def test_the_latest_rows_fit_and_the_others_are_counted(
    make_trial, height: int, other_lines: int, shown: int, last: str | None
) -> None:
    lines = drawn([row(make_trial, number) for number in range(20)], height, other_lines)
    names = [" ".join(line.split()[:2]) for line in lines if line.startswith("trial")]
    assert names == [f"trial {number}" for number in range(20 - shown, 20)]
    assert lines[len(names) :] == ([] if last is None else [last])


def test_a_row_and_a_clause_state_the_same(make_trial) -> None:
    going, paused = row(make_trial, 3), row(make_trial, 4, is_paused=True)
    first, second = drawn([going, paused], 30, 0)
    assert first.split()[:4] == ["trial", "3", "ca", "label"]
    assert first.endswith("25 % about 30 s left")
    assert second.endswith("25 % paused")
    assert going.clause() == "trial 3 training 25 %"
    assert paused.clause() == "trial 4 training 25 % (paused)"
