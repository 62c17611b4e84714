"""The events that a running study passes to its listener."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from evaluators.evaluator import Evaluation, Progress, Score
from studies.records import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStarted:
    """The study was started or resumed. This is the first event of every run.

    Attributes:
        study: The name of the study.
        total: The total number of candidates, including finished ones.
        ended: The number of candidates that have ended already, in this or in another process.
        parallel: The number of candidates that this process may work on at the same time.
    """

    study: str
    total: int
    ended: int
    parallel: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    """A candidate or a reference model is about to enter its first stage.

    Attributes:
        trial: The trial, whose architecture is known.
    """

    trial: Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """A stage of a trial has begun. `StageEnded` follows, unless the run ends or loses the trial.

    Attributes:
        trial: The trial in the state of its `TrialStarted` event. If the trial has ended, its times
            are measured again.
        stage: The name of the stage.
    """

    trial: Trial
    stage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgress:
    """An evaluator has reported progress.

    Attributes:
        trial: The trial as in `StageStarted`.
        stage: The name of the stage.
        progress: What the evaluator reported.
    """

    trial: Trial
    stage: str
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEnded:
    """A stage of a trial has ended.

    Attributes:
        trial: The trial as in `StageStarted`.
        stage: The name of the stage.
        evaluation: The result of the stage, new or cached; None if it failed, found the trial
            infeasible or stopped it early.
        seconds: The time that the stage took, close to 0 for a cache hit.
    """

    trial: Trial
    stage: str
    evaluation: Evaluation | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """A trial has ended and is stored. For a duplicate, no `TrialStarted` precedes it.

    Attributes:
        trial: The trial with its outcome.
    """

    trial: Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLost:
    """Another process has taken over the trial, because it considered this process dead.

    Attributes:
        trial: The trial as this process claimed it.
    """

    trial: Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRemeasured:
    """The times of an ended trial were measured again.

    Attributes:
        trial: The trial with its new scores.
        earlier: Its scores before. They may differ from those of earlier events about it, because
            the reference model's time was estimated again in the meantime.
    """

    trial: Trial
    earlier: tuple[Score, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something happened that the user should know.

    Attributes:
        text: A sentence.
    """

    text: str


Event: TypeAlias = (
    StudyStarted
    | TrialStarted
    | StageStarted
    | StageProgress
    | StageEnded
    | TrialEnded
    | TrialLost
    | TrialRemeasured
    | Remark
)

Listener: TypeAlias = Callable[[Event], None]
"""Receives every event of a run. An exception that it raises ends the run, which can be resumed."""


def ignore(event: Event) -> None:
    """Do nothing: the listener of a study that nobody watches."""
