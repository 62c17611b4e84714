"""Any Evaluator, remembered by its fingerprint and the Architecture's hash."""

import math
from dataclasses import dataclass
from typing import Protocol

from evaluators.evaluator import Evaluation, EvaluationFailed, Evaluator, Report
from search_space.architecture import Architecture


class EvaluationCache(Protocol):
    """Keeps evaluations for good; what comes back equals what went in."""

    def load_evaluation(self, fingerprint: str, architecture: Architecture) -> Evaluation | None:
        """None for what was never remembered."""
        ...

    def save_evaluation(
        self, fingerprint: str, architecture: Architecture, evaluation: Evaluation
    ) -> None:
        """The first evaluation stays where another process was faster."""
        ...


class NoCache:
    """A Memory that keeps nothing."""

    def load_evaluation(self, fingerprint: str, architecture: Architecture) -> None:
        """None, always."""

    def save_evaluation(
        self, fingerprint: str, architecture: Architecture, evaluation: Evaluation
    ) -> None:
        """Lets it go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """An Evaluator that asks its memory first. Failures are not remembered: they may be luck."""

    evaluator: Evaluator
    memory: EvaluationCache

    @property
    def stage(self) -> str:
        return self.evaluator.stage

    @property
    def fingerprint(self) -> str:
        return self.evaluator.fingerprint

    @property
    def score_names(self) -> tuple[str, ...]:
        return self.evaluator.score_names

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """As the evaluator's; a score that is not a finite number is a failure too."""
        known = self.memory.load_evaluation(self.fingerprint, architecture)
        if known is not None:
            return known
        evaluation = self.evaluator.evaluate(architecture, report)
        for score in evaluation.scores:
            if not math.isfinite(score.value):
                raise EvaluationFailed("diverged", f"{score.name} is {score.value}")
        self.memory.save_evaluation(self.fingerprint, architecture, evaluation)
        return evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Remeasured:
    """An Evaluator whose evaluations are remembered apart from those of the first time."""

    evaluator: Evaluator

    @property
    def stage(self) -> str:
        return self.evaluator.stage

    @property
    def fingerprint(self) -> str:
        return f"again {self.evaluator.fingerprint}"

    @property
    def score_names(self) -> tuple[str, ...]:
        return self.evaluator.score_names

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """As the evaluator's."""
        return self.evaluator.evaluate(architecture, report)
