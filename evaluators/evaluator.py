"""The seam between a study and what it asks: an Architecture in, named scores out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from hardware.measurement import Measurement
from search_space.architecture import Architecture

FailureKind: TypeAlias = Literal[
    "diverged", "out of memory", "device lost", "build error", "timed out"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A named number with its unit; smaller is better for every score.

    low, high: the 95 % interval where the evaluator knows one.
    """

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Validation loss, in bits per byte, after this many training tokens."""

    tokens: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What one evaluator found out about one architecture, with the evidence and its price."""

    scores: tuple[Score, ...]
    seconds: float
    measurements: tuple[Measurement, ...] = ()
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an evaluation is (0 to 1), in words, and the newest point of its learning curve."""

    done: float
    text: str
    point: CurvePoint | None = None


Report: TypeAlias = Callable[[Progress], None]


class EvaluationFailed(Exception):
    """This candidate has no score, for a reason that belongs to the results."""

    def __init__(self, kind: FailureKind, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind: FailureKind = kind
        self.reason = reason


class Infeasible(Exception):
    """This candidate cannot be what the study asks for, whatever it would score; says why."""


class Evaluator(Protocol):
    """Scores architectures, one by one.

    stage: one word for what it does, shown while it works and stored with its time.
    fingerprint: changes whenever the same architecture could get another score: settings, seeds,
        the device, versions. Results are remembered under it.
    score_names: the names of the scores that every successful evaluation carries.
    """

    @property
    def stage(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def score_names(self) -> tuple[str, ...]: ...

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Raises EvaluationFailed, Infeasible, and whatever `report` raises; leaves no file behind.

        What it keeps loaded for the architectures that follow, it has a way to close.
        """
        ...
