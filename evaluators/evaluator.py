"""The evaluator interface: an Architecture goes in, named scores with units come out."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from evaluators.calibration import CalibrationKey
from hardware.measurement import Interval, Measurement
from hardware.progress import Say
from search_space.architecture import Architecture

FailureKind: TypeAlias = Literal[
    "diverged",
    "out of memory",
    "device lost",
    "build error",
    "timed out",
    "killed",
    "process died",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedRatio:
    """The measured ratio that a time was computed from, so that it can be computed again.

    The value of the score is `ratio` times the reference model's time in the calibration, and the
    same holds for the bounds.

    Attributes:
        calibration: The calibration of the reference model.
        ratio: The score, in its unit per millisecond of the reference model's time.
        low: The lower bound of the 95 % confidence interval of `ratio`; None where none is known.
        high: The upper bound of that interval.
    """

    calibration: CalibrationKey
    ratio: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A named number with its unit. Smaller is better for every score.

    Attributes:
        name: One of the names in `evaluators.scores`.
        value: The score, in `unit`.
        unit: The unit of `value`, `low` and `high`.
        low: The lower bound of the 95 % confidence interval; None where no interval is known.
        high: The upper bound of that interval.
        provisional: Whether the value is known to be unreliable: it decides nothing, and is to be
            measured again.
        measured: For a time, the ratio that it was computed from.
    """

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    provisional: bool = False
    measured: CalibratedRatio | None = None

    @property
    def reference_half_width(self) -> float:
        """Half the width of the interval that the reference model's time has by itself.

        It is a fraction of that time. In the interval of a time, it is what is added to the
        interval of the ratio. It is 0 for a score that was not computed from a ratio, or that has
        no interval.
        """
        measured = self.measured
        if measured is None or measured.low is None or measured.high is None:
            return 0.0
        if self.low is None or self.high is None:
            return 0.0
        whole = Interval(low=self.low, high=self.high).half_width
        ratio = Interval(low=measured.low, high=measured.high).half_width
        return math.sqrt(max(0.0, whole**2 - ratio**2))


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """A point of a learning curve.

    Attributes:
        tokens: The number of training tokens read so far.
        loss: The validation loss at that point, in bits per byte.
    """

    tokens: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result of one evaluator for one architecture, with its evidence and its cost.

    Attributes:
        scores: The scores, in the order of the evaluator's `score_names`.
        seconds: The wall time that the evaluation took.
        measurements: The raw timings that the scores are computed from.
        curve: The learning curve of a training; empty for other evaluators.
        remarks: What the user should know about how this evaluation came about, as sentences. They
            are not stored.
    """

    scores: tuple[Score, ...]
    seconds: float
    measurements: tuple[Measurement, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    remarks: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of an evaluation that is still running.

    Attributes:
        done: The completed fraction, from 0 to 1.
        text: One line about what is being done.
        point: The newest point of the learning curve, in the report that follows its validation.
        remark: What the user should know however the evaluation ends, as a sentence, which is shown
            after the name of the model and a colon. It is not stored.
    """

    done: float
    text: str
    point: CurvePoint | None = None
    remark: str | None = None


Report: TypeAlias = Callable[[Progress], None]
"""Receives the progress of an evaluation. An exception that it raises ends the evaluation."""


def text_reporter(report: Report, done: float = 0.0) -> Say:
    """Return a callback that reports each line of text as progress at a fixed fraction.

    Args:
        report: Receives the progress.
        done: The completed fraction that every line is reported with.
    """
    return lambda text: report(Progress(done=done, text=text))


class ProgressReporter:
    """A `Report` that passes progress on and keeps the fraction for lines of text in between.

    `say` reports a line of text at the fraction that was last passed on; 0 before the first.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._done = 0.0

    def __call__(self, progress: Progress) -> None:
        """Pass the progress on."""
        self._done = progress.done
        self._report(progress)

    def say(self, text: str) -> None:
        """Report a line of text without any change in the completed fraction."""
        self._report(Progress(done=self._done, text=text))


class EvaluationFailed(Exception):
    """A candidate could not be evaluated. The failure is stored as the candidate's result.

    Attributes:
        kind: The category of the failure.
        reason: The details, in one line.
    """

    def __init__(self, kind: FailureKind, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind: FailureKind = kind
        self.reason = reason


class Infeasible(Exception):
    """A candidate violates a requirement of the study, regardless of its scores.

    The message states the requirement. It is stored as the candidate's result.
    """


class Evaluator(Protocol):
    """Scores architectures, one at a time.

    Callers may rely on the following; `tests/evaluators/conformance.py` checks it for every
    implementation:

    - An evaluation has exactly one score for each of `score_names`, in that order.
    - The fractions that `evaluate` reports lie between 0 and 1. They never decrease, unless an
      evaluator that wraps another one repeats its work.
    - An exception raised by `report` ends the evaluation at once and reaches the caller unchanged.
    - No temporary file is left behind, however an evaluation ends.
    - `fingerprint` does not change while the evaluator exists.

    An evaluator may keep a model or a process for the next architecture. It then has a `close`
    method and is a context manager.

    Example:
        >>> evaluator = StaticEvaluator()
        >>> evaluation = evaluator.evaluate(preset("lfm2-350m"), lambda progress: None)
        >>> evaluation.scores[0].value
        354483968.0
    """

    @property
    def stage(self) -> str:
        """One word for the work, shown while it runs and stored with its duration."""
        ...

    @property
    def fingerprint(self) -> str:
        """A text that identifies everything but the architecture that the scores depend on.

        It changes whenever the same architecture could get another score: with the settings, the
        seeds, the device and the versions of what computes the score. Stored evaluations are found
        by it.
        """
        ...

    @property
    def score_names(self) -> tuple[str, ...]:
        """The names of the scores that every successful evaluation has."""
        ...

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Score one architecture.

        Args:
            architecture: The candidate or reference model.
            report: Receives the progress.

        Returns:
            The scores and their evidence.

        Raises:
            EvaluationFailed: The architecture has no score, because it cannot be built, trained or
                timed.
            Infeasible: The architecture violates a requirement of the study.
        """
        ...


@runtime_checkable
class Refinable(Evaluator, Protocol):
    """An Evaluator whose scores become more precise when it measures an architecture again."""

    def refine(self, architecture: Architecture, earlier: Evaluation, report: Report) -> Evaluation:
        """Measure an architecture again, and combine the result with that of an earlier evaluation.

        Args:
            architecture: The candidate or reference model.
            earlier: Its evaluation by this evaluator so far.
            report: Receives the progress.

        Returns:
            The evaluation that replaces the earlier one, with the measurements of both.

        Raises:
            EvaluationFailed: The architecture could not be measured this time.
        """
        ...

    def rescore(
        self, architecture: Architecture, evaluation: Evaluation, report: Report
    ) -> Evaluation:
        """Compute the scores again from the measurements of an evaluation, without measuring.

        Args:
            architecture: The candidate or reference model.
            evaluation: Measurements by this evaluator, perhaps of several processes. Its scores are
                ignored.
            report: Receives the progress.

        Returns:
            The evaluation with the scores that follow from all its measurements.
        """
        ...
