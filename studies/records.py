"""Records of studies, trials and confirmations, as the store returns them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias, get_args

from evaluators.evaluator import CurvePoint, FailureKind, Progress, Score
from hardware.environment import Environment
from studies.damage import StoredScores
from studies.owner import Owner

TrialKind: TypeAlias = Literal["candidate", "reference"]
EndState: TypeAlias = Literal["complete", "infeasible", "stopped", "failed"]
TrialState: TypeAlias = EndState | Literal["running", "interrupted"]

END_STATES: tuple[EndState, ...] = get_args(EndState)

# The device or another program may have caused these, so they say little about the architecture.
TRANSIENT_FAILURES: tuple[FailureKind, ...] = ("device lost", "timed out", "killed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study and its specification.

    Attributes:
        name: The name of the study, unique in its database.
        spec: The specification that it was started with, as JSON.
        created_at: The time at which it was started.
    """

    name: str
    spec: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """One stage of a trial and the time that it took.

    Attributes:
        stage: The name of the stage.
        fingerprint: The fingerprint of its evaluator, under which the evaluation, if there is one,
            is cached.
        seconds: The time of all attempts together, close to 0 for a cache hit.
    """

    stage: str
    fingerprint: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a trial ended, and why.

    Attributes:
        state: The final state.
        stage: The stage that decided it; None for a complete trial.
        reason: The reason as a sentence for the user; None for a complete trial.
        failure: The kind of failure; set if, and only if, the state is `failed`.
        curve: The learning curve up to the point at which the trial was stopped early or failed.
            The curve of a complete trial belongs to its evaluation.
        estimated_loss: For a trial that was stopped early, the estimate of the loss, in bits per
            byte, that the full training would have reached.
        exceeded: For a trial that was refused because of a limit, the lowest value that each score
            above its limit may have, by name. It is judged again when a limit changes.
    """

    state: EndState
    stage: str | None = None
    reason: str | None = None
    failure: FailureKind | None = None
    curve: tuple[CurvePoint, ...] = ()
    estimated_loss: float | None = None
    exceeded: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """A short description of an architecture.

    Attributes:
        hash: The hash of the architecture.
        layout: One letter per layer.
        parameters: The number of parameters.
    """

    hash: str
    layout: str
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One architecture, the stages that evaluated it, and its scores.

    Attributes:
        id: The primary key in the database.
        study: The name of the study.
        kind: Whether it is a candidate or a reference model.
        number: The number within the study. Candidates and reference models are numbered
            separately, both from 0.
        reference: The name of the reference model; None for a candidate.
        model: The architecture; None until one has been drawn.
        optuna_number: The number of the Optuna trial that drew it; None for a reference model.
        owner: The process that works on it or that ended it; None while it is interrupted.
        stage: The current stage of a running trial.
        progress: The progress within that stage.
        outcome: How it ended; None while it is running or interrupted.
        duplicate_of: The number of an earlier trial with the same architecture, whose outcome it
            shares.
        stages: The stages that were run, in order.
        scores: The scores of every finished stage.
        curve: The learning curve, complete or up to the point at which training ended early.
        started_at: The time at which the trial was first claimed.
        ended_at: The time at which it ended; None while it is running or interrupted.
        revision: A number that increases whenever the trial or its scores change after its end.
        predicted_latency: For a candidate that was matched to the latency of its space, what was
            predicted for it, in the unit of the score; None for all others.
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
    ended_at: datetime | None
    revision: int = 0
    predicted_latency: float | None = None

    @property
    def state(self) -> TrialState:
        """The final state, or whether the trial is running or interrupted."""
        if self.outcome is not None:
            return self.outcome.state
        return "interrupted" if self.owner is None else "running"

    @property
    def name(self) -> int | str:
        """The name for use in commands: a candidate's number or a reference model's name."""
        return self.number if self.reference is None else self.reference

    @property
    def title(self) -> str:
        """The name in running text, such as `trial 7` or `lfm2-350m`."""
        return f"trial {self.number}" if self.reference is None else self.reference

    @property
    def values(self) -> dict[str, float]:
        """The value of every score, by name; looking up one that is missing reports damage."""
        return StoredScores(self.title, {score.name: score.value for score in self.scores})

    def provisional(self, names: Collection[str]) -> tuple[str, ...]:
        """Return which of these scores are provisional; see `Score.provisional`."""
        return tuple(
            score.name for score in self.scores if score.provisional and score.name in names
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationKey:
    """What identifies a confirmation job: one retraining or remeasurement of a candidate.

    Attributes:
        trial: The `Trial.id` of the candidate.
        stage: The stage that is repeated.
        fingerprint: The fingerprint of the evaluator; it differs from that of any stage of a trial.
        seed: The seed of a retraining; None for a remeasurement.
        token_budget: The training tokens of a retraining; None for a remeasurement.
    """

    trial: int
    stage: str
    fingerprint: str
    seed: int | None = None
    token_budget: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationRun:
    """The state of one retraining or remeasurement.

    Attributes:
        key: What identifies the job.
        number: The number of the candidate.
        owner: The process that works on it or that ended it.
        ended_at: The time at which it ended; None while it is running.
        seconds: The time that it took; None while it is running.
        failure: The kind of failure, if it failed.
        reason: The reason for the failure, as a sentence.
        scores: The scores, if it ended without a failure.
        curve: The learning curve of a retraining that ended without a failure.
    """

    key: ConfirmationKey
    number: int
    owner: Owner
    ended_at: datetime | None
    seconds: float | None
    failure: FailureKind | None
    reason: str | None
    scores: tuple[Score, ...]
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The circumstances in which a trial was timed.

    `disturbed` and `waited_s` are None for trials of earlier releases that did not record them.

    Attributes:
        disturbed: The largest fraction (0 to 1) of the measuring cores' time that other processes
            took during any workload.
        waited_s: The time spent waiting for a quiet machine, in seconds.
        environment: The machine and its state; that of the first device if there are several.
        more_environments: Those of the other devices.
    """

    disturbed: float | None
    waited_s: float | None
    environment: Environment
    more_environments: tuple[Environment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTime:
    """The time of the reference model, measured interleaved with a trial.

    Attributes:
        trial: The `Trial.id` of the trial.
        workload: The workload, such as `decode`.
        at: The time of the measurement.
        median_ms: The median time per prompt or per token, in milliseconds.
        device: The name of the device; None for the machine that runs the study.
    """

    trial: int
    workload: str
    at: datetime
    median_ms: float
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPoint:
    """A candidate and those of its scores that were asked for.

    Attributes:
        number: The number of the trial.
        architecture: The hash of its architecture.
        reason: The reason for its outcome; None for a complete trial.
        values: The values of the scores that it has, by name.
        provisional: The names of the scores among them that are provisional.
    """

    number: int
    architecture: str
    reason: str | None
    values: Mapping[str, float]
    provisional: frozenset[str] = frozenset()


def scored_point(trial: Trial) -> ScoredPoint:
    """Return a candidate with all its scores as a point; its architecture must be known."""
    assert trial.model is not None
    return ScoredPoint(
        number=trial.number,
        architecture=trial.model.hash,
        reason=None if trial.outcome is None else trial.outcome.reason,
        values=trial.values,
        provisional=frozenset(trial.provisional(trial.values)),
    )
