"""Fixtures: trials of a study, the text of a view in a terminal of 80 columns, and a clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console, RenderableType

from evaluators.evaluator import Score
from search_space.space.space_definition import Space
from studies.records import ModelSummary, Outcome, Trial, TrialState
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import DeviceSettings, Objective
from tests.studies.owners import OWNER

UNITS = {
    "loss": "bits/byte",
    "decode": "ms/token",
    "prefill": "ms",
    "recall_error": "wrong",
    "task": "bits/byte",
}
NOW = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass
class FakeClock:
    """A clock in seconds that stands still unless it is set."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


MakeTrial = Callable[..., Trial]
Render = Callable[[RenderableType], str]


def _trial(
    number: int,
    state: TrialState = "complete",
    *,
    layout: str = "ca" * 16,
    reference: str | None = None,
    duplicate_of: int | None = None,
    reason: str | None = None,
    **values: float,
) -> Trial:
    """Make a trial of 32 layers, which are wide in a terminal; `values` are its scores."""
    running = state == "running"
    outcome = None
    if state not in ("running", "interrupted"):
        failure = "diverged" if state == "failed" else None
        outcome = Outcome(state=state, reason=reason, failure=failure)
    return Trial(
        id=number,
        study="small",
        kind="candidate" if reference is None else "reference",
        number=number,
        reference=reference,
        model=ModelSummary(hash=f"{number:016x}", layout=layout, parameters=354_483_968),
        optuna_number=None,
        owner=None if state == "interrupted" else OWNER,
        stage="training" if running else None,
        progress=None,
        outcome=outcome,
        duplicate_of=duplicate_of,
        stages=(),
        scores=tuple(
            Score(name=name, value=value, unit=UNITS[name]) for name, value in values.items()
        ),
        curve=(),
        started_at=NOW,
        ended_at=None if outcome is None else NOW,
    )


@pytest.fixture
def make_trial() -> MakeTrial:
    return _trial


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw as on a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def spec() -> StudySpec:
    """A study with three objectives."""
    return StudySpec(
        name="small",
        trials=10,
        space=Space(
            depth=(2,), width=(64,), mixers=("c",), feed_forward=(2.0,), vocab_size=(4096,)
        ),
        objectives=tuple(Objective(name=name) for name in ("loss", "decode", "prefill")),
        device=DeviceSettings(precision=0.02),
    )


@pytest.fixture
def render() -> Render:
    def text(view: RenderableType) -> str:
        console = Console(file=StringIO(), width=80, color_system=None, highlight=False)
        console.print(view)
        shown = console.file.getvalue()
        assert all(len(line) <= 80 for line in shown.splitlines())
        return shown

    return text
