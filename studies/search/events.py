"""What a running study tells those who watch it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from evaluators.evaluator import Evaluation, Progress
from studies.records import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStarted:
    """wanted: candidates in all; ended: those that are done already, by this or another run."""

    study: str
    wanted: int
    ended: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    """A candidate or a reference has its architecture, and its first stage comes next."""

    trial: Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    trial: Trial
    stage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgress:
    trial: Trial
    stage: str
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEnded:
    """The stage has its scores, new or remembered."""

    trial: Trial
    stage: str
    evaluation: Evaluation
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """The trial as it is stored, with its outcome; a duplicate ends without having started."""

    trial: Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLost:
    """Another process has taken the trial over: this one was thought to be dead."""

    trial: Trial


Event: TypeAlias = (
    StudyStarted | TrialStarted | StageStarted | StageProgress | StageEnded | TrialEnded | TrialLost
)

Listener: TypeAlias = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener for whom nothing is of interest."""
