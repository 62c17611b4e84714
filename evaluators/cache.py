"""A cache of evaluations, and evaluators that read from it or deliberately bypass it."""

import math
from dataclasses import dataclass
from typing import Protocol

from evaluators.evaluator import Evaluation, EvaluationFailed, Evaluator, Refinable, Report
from search_space.architecture import Architecture


class EvaluationCache(Protocol):
    """Stores evaluations permanently, by the evaluator's fingerprint and the architecture's hash.

    Callers may rely on the following:

    - A loaded evaluation equals the saved one, including every raw sample and curve point.
    - An evaluation that was saved can be loaded immediately, by other processes too.
    - Equal architectures share an entry, however they were constructed.
    - An entry changes only when it is replaced by a more precise evaluation, or when the time of
      the reference model behind its times becomes known better. If two processes evaluate the same
      architecture at the same time, the first evaluation to be saved is kept.

    `DatabaseCache` stores evaluations in a study's database and raises the errors of that database.

    Example:
        >>> cache.save_evaluation(evaluator.fingerprint, architecture, evaluation)
        >>> cache.load_evaluation(evaluator.fingerprint, architecture) == evaluation
        True
        >>> cache.load_evaluation("another fingerprint", architecture) is None
        True
    """

    def load_evaluation(self, fingerprint: str, architecture: Architecture) -> Evaluation | None:
        """Return the stored evaluation.

        Args:
            fingerprint: The evaluator's fingerprint.
            architecture: The architecture that was evaluated.

        Returns:
            The evaluation, or None if none is stored.
        """
        ...

    def save_evaluation(
        self, fingerprint: str, architecture: Architecture, evaluation: Evaluation
    ) -> None:
        """Store an evaluation; if there is one already, it is kept instead.

        Args:
            fingerprint: The evaluator's fingerprint.
            architecture: The architecture that was evaluated.
            evaluation: The evaluation to store.
        """
        ...

    def replace_evaluation(
        self, fingerprint: str, architecture: Architecture, evaluation: Evaluation
    ) -> None:
        """Replace a stored evaluation by one that contains its measurements and further ones.

        Args:
            fingerprint: The evaluator's fingerprint.
            architecture: The architecture that was evaluated.
            evaluation: The evaluation to store.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """An Evaluator that returns cached evaluations, and caches new ones.

    Failures are not cached, because they may be due to chance.

    Attributes:
        evaluator: Evaluates the architectures that are not in the cache.
        cache: Stores the evaluations under the fingerprint of `evaluator`.
    """

    evaluator: Evaluator
    cache: EvaluationCache

    @property
    def stage(self) -> str:
        """The stage of the wrapped evaluator."""
        return self.evaluator.stage

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the wrapped evaluator."""
        return self.evaluator.fingerprint

    @property
    def score_names(self) -> tuple[str, ...]:
        """The score names of the wrapped evaluator."""
        return self.evaluator.score_names

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Return the cached evaluation, or evaluate and cache.

        Args:
            architecture: The architecture to score.
            report: Receives the progress; it is not called on a cache hit.

        Raises:
            EvaluationFailed: The wrapped evaluator failed, or one of its scores is not finite.
            Infeasible: The wrapped evaluator found the architecture infeasible.
        """
        cached = self.cache.load_evaluation(self.fingerprint, architecture)
        if cached is not None:
            return cached
        evaluation = self.evaluator.evaluate(architecture, report)
        for score in evaluation.scores:
            if not math.isfinite(score.value):
                raise EvaluationFailed("diverged", f"{score.name} is {score.value}")
        self.cache.save_evaluation(self.fingerprint, architecture, evaluation)
        return evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Remeasured:
    """A Refinable with a fingerprint of its own, so that a cache hit never replaces its work.

    The search stores its evaluations under the fingerprint of `evaluator`. A confirmation evaluates
    the same architectures a second time, and stores the results separately.

    Attributes:
        evaluator: Makes the evaluations.
    """

    evaluator: Refinable

    @property
    def stage(self) -> str:
        """The stage of the wrapped evaluator."""
        return self.evaluator.stage

    @property
    def fingerprint(self) -> str:
        """The fingerprint of a second evaluation by the wrapped evaluator."""
        # Databases hold evaluations under this prefix, so it must not change.
        return f"again {self.evaluator.fingerprint}"

    @property
    def score_names(self) -> tuple[str, ...]:
        """The score names of the wrapped evaluator."""
        return self.evaluator.score_names

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Evaluate with the wrapped evaluator; see `Evaluator.evaluate`."""
        return self.evaluator.evaluate(architecture, report)

    def refine(self, architecture: Architecture, earlier: Evaluation, report: Report) -> Evaluation:
        """Measure again with the wrapped evaluator; see `Refinable.refine`."""
        return self.evaluator.refine(architecture, earlier, report)
