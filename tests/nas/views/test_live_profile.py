"""The view of a profile that is being timed, with and without a terminal."""

from pathlib import Path

import pytest

from nas.views.live_profile import live_profile
from nas.workflows.profile_plan import QUICK, plan_profile
from nas.workflows.profile_timing import Profiling
from nas.workflows.work_progress import WorkProgress
from studies.storage.store import Store
from tests.nas.workflows.profile_parts import PartsRunner, at_once

PLAN = plan_profile(
    QUICK, widths=[64], depths=[], quantizations=[], threads=[], prompt=None, rounds=None
)


def _profile(clock, storage: str) -> None:
    """Report the progress of two models, of which the first takes 20 s for two times."""
    with Store.open(storage) as store:
        run = Profiling(PLAN, {1: PartsRunner()}, store, cache_bytes=0, quiet=at_once)
        with live_profile(run, clock) as listen:
            for seconds, subject, text, done in (
                (0, "attention", "waiting for another measurement on this machine", 4),
                (2, "attention", "building and loading the model", 4),
                (8, "attention", "tg32@256: 3 pairs", 5),
                (10, "window 512", "building and loading the model", 6),
                (5, "window 512", "tg32@256: 3 pairs", 6),
                (10, "window 512", "tg32@256: 6 pairs", 6),
            ):
                clock.now += seconds
                listen(WorkProgress(subject=subject, text=text, done=done, total=16))


def test_without_a_terminal_lines_state_the_model_and_the_time_left(
    clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _profile(clock, f"sqlite:///{tmp_path}/nas.db")
    first, *others = capsys.readouterr().err.splitlines()
    expected = "attention: waiting for another measurement on this machine; 4 of 16 times measured"
    assert first.startswith(f"{expected}, about ")
    assert others == [
        # Two times took 20 s, so ten take 100 s.
        "window 512: building and loading the model; 6 of 16 times measured, about 2 min left in "
        "all",
        "window 512: tg32@256: 6 pairs; 6 of 16 times measured, about 85 s left in all",
    ]


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_the_same_facts_are_drawn(
    clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _profile(clock, f"sqlite:///{tmp_path}/nas.db")
    shown = capsys.readouterr().err
    assert "6 of 16 times measured, about 85 s left: window 512" in shown
    assert "tg32@256: 6 pairs" in shown
