"""What a study leaves behind: studies, trials and how they ended, as the store hands them out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, get_args

from evaluators.evaluator import CurvePoint, FailureKind, Progress, Score
from hardware.environment import Environment
from studies.owner import Owner

TrialKind: TypeAlias = Literal["candidate", "reference"]
EndState: TypeAlias = Literal["complete", "infeasible", "stopped", "failed"]
TrialState: TypeAlias = EndState | Literal["running", "interrupted"]
TrialFailure: TypeAlias = FailureKind | Literal["process died"]

END_STATES: tuple[EndState, ...] = get_args(EndState)

# They may have been the device's, and say little about the architecture.
TRANSIENT_FAILURES: tuple[TrialFailure, ...] = ("device lost", "timed out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study by its name, and the specification it was begun with, as JSON."""

    name: str
    spec: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """What one stage took of a trial's time; seconds of all attempts, near 0 if it was remembered.

    fingerprint: of the evaluator; the evaluation, if there is one, is remembered under it.
    """

    stage: str
    fingerprint: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a trial ended, and why.

    stage: the one that settled it; None for a complete trial.
    reason: in words, for people; None for a complete trial.
    failure: set if, and only if, it failed.
    curve: the learning curve up to where it was stopped or failed; a complete trial's curve belongs
        to its evaluation.
    estimated_loss: of a stopped trial, what its loss would have come to.
    """

    state: EndState
    stage: str | None = None
    reason: str | None = None
    failure: TrialFailure | None = None
    curve: tuple[CurvePoint, ...] = ()
    estimated_loss: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """An architecture in short; `parameters` is their number."""

    hash: str
    layout: str
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One architecture's way through the stages; candidates and references count from 0 each.

    id: its row in the store.
    reference: the name of a reference model, None for a candidate.
    model: None until an architecture is drawn.
    optuna_number: of Optuna's trial that drew it; None for a reference.
    owner: the process that works on it or that ended it; None while it is interrupted.
    stage, progress: where a running trial is.
    outcome: None while it runs or is interrupted.
    duplicate_of: the number of an earlier trial with this architecture, whose outcome it shares.
    scores: of every stage that was finished.
    curve: the learning curve, as far as it goes.
    seen_at: when its process last gave a sign of life.
    """

    id: int
    study: str
    kind: TrialKind
    number: int
    reference: str | None
    model: ModelSummary | None
    optuna_number: int | None
    owner: Owner | None
    stage: str | None
    progress: Progress | None
    outcome: Outcome | None
    duplicate_of: int | None
    stages: tuple[StageRun, ...]
    scores: tuple[Score, ...]
    curve: tuple[CurvePoint, ...]
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None

    @property
    def state(self) -> TrialState:
        if self.outcome is not None:
            return self.outcome.state
        return "interrupted" if self.owner is None else "running"

    @property
    def name(self) -> int | str:
        """What a person asks for it by: a candidate's number, or a reference's name."""
        return self.number if self.reference is None else self.reference

    @property
    def title(self) -> str:
        return f"trial {self.number}" if self.reference is None else self.reference

    @property
    def values(self) -> dict[str, float]:
        """Every score by its name."""
        return {score.name: score.value for score in self.scores}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationStage:
    """A stage of a candidate once more, to confirm it: a training, or a timing.

    trial: its id.
    fingerprint: of the evaluator; no trial's stage has it.
    seed, token_budget: of a training; None for a timing.
    """

    trial: int
    stage: str
    fingerprint: str
    seed: int | None = None
    token_budget: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationRun:
    """How far a repeat has come.

    number: of its candidate.
    owner: the process that works on it or ended it.
    seconds: what it took; None while it is under way.
    failure, reason: set if it failed; else what is ended has `scores`, and a training its `curve`.
    """

    repeat: ConfirmationStage
    number: int
    owner: Owner
    seen_at: datetime
    ended_at: datetime | None
    seconds: float | None
    failure: FailureKind | None
    reason: str | None
    scores: tuple[Score, ...]
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How a trial was timed, in short.

    disturbed: the most that others had of the measuring cores' time in any workload (0 to 1).
    waited_s: for a quiet machine. Both are None where an earlier release did not record them.
    """

    disturbed: float | None
    waited_s: float | None
    environment: Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTime:
    """What the paired reference took beside the trial of that id: a prompt's, or a token's."""

    trial: int
    workload: str
    at: datetime
    median_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPoint:
    """A candidate in short: its architecture's hash, and the asked scores, by name, that it has."""

    number: int
    architecture: str
    reason: str | None
    values: Mapping[str, float]


def scored_point(trial: Trial) -> ScoredPoint:
    """Of a candidate that has an architecture, with every score."""
    assert trial.model is not None
    return ScoredPoint(
        number=trial.number,
        architecture=trial.model.hash,
        reason=None if trial.outcome is None else trial.outcome.reason,
        values=trial.values,
    )
