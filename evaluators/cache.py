"""A cache of evaluations, and evaluators that read from it or deliberately bypass it."""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Protocol

from evaluators.evaluator import Evaluation, EvaluationFailed, Evaluator, Refinable, Report
from search_space.architecture import Architecture


class EvaluationCache(Protocol):
    """Stores evaluations permanently, by the evaluator's fingerprint and the architecture's hash.

    Callers may rely on the following:

    - A loaded evaluation equals the saved one, including every raw sample and curve point.
    - An evaluation that was saved can be loaded immediately, by other processes too.
    - Equal architectures share an entry, however they were constructed.
    - An entry changes only when it is replaced by a more precise evaluation, or when its times are
      computed again because the estimate of the reference model's time has changed. If two
      processes evaluate the same architecture at the same time, the first evaluation to be saved
      is kept.

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
        self,
        fingerprint: str,
        architecture: Architecture,
        *,
        earlier: Evaluation,
        refined: Evaluation,
    ) -> bool:
        """Replace a stored evaluation by one that contains its measurements and further ones.

        Nothing happens if the stored evaluation is no longer `earlier`, because another process has
        replaced it: its measurements would be lost. See `refine_cached`. Times that were computed
        again for another time of the reference model do not count as a difference.

        Args:
            fingerprint: The evaluator's fingerprint.
            architecture: The architecture that was evaluated.
            earlier: The evaluation that `refined` was made from.
            refined: The evaluation to store.

        Returns:
            Whether the evaluation was replaced.
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
        known = self.load(architecture)
        if known is not None:
            return known
        evaluation = self.evaluator.evaluate(architecture, report)
        self.save(architecture, evaluation)
        return evaluation

    def load(self, architecture: Architecture) -> Evaluation | None:
        """Return the cached evaluation; None if there is none."""
        return self.cache.load_evaluation(self.fingerprint, architecture)

    def save(self, architecture: Architecture, evaluation: Evaluation) -> None:
        """Cache a new evaluation.

        Raises:
            EvaluationFailed: One of its scores is not finite.
        """
        for score in evaluation.scores:
            if not math.isfinite(score.value):
                raise EvaluationFailed("diverged", f"{score.name} is {score.value}")
        self.cache.save_evaluation(self.fingerprint, architecture, evaluation)


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

    def rescore(
        self, architecture: Architecture, evaluation: Evaluation, report: Report
    ) -> Evaluation:
        """Compute scores with the wrapped evaluator; see `Refinable.rescore`."""
        return self.evaluator.rescore(architecture, evaluation, report)


def refine_cached(
    evaluator: Refinable,
    architecture: Architecture,
    earlier: Evaluation,
    cache: EvaluationCache,
    report: Report,
) -> Evaluation:
    """Measure an architecture again, and replace its evaluation in the cache.

    If another process has measured the architecture in the meantime, the measurements of both are
    kept, and the scores are computed from all of them.

    Args:
        evaluator: Measures the architecture; its fingerprint is that of the cached evaluation.
        architecture: The candidate or reference model.
        earlier: The evaluation so far.
        cache: Holds an evaluation of the architecture.
        report: Receives the progress.

    Returns:
        The evaluation that is in the cache now.

    Raises:
        EvaluationFailed: The architecture could not be measured this time.
        Infeasible: The evaluator found the architecture infeasible.
    """
    refined = evaluator.refine(architecture, earlier, report)
    while not cache.replace_evaluation(
        evaluator.fingerprint, architecture, earlier=earlier, refined=refined
    ):
        stored = cache.load_evaluation(evaluator.fingerprint, architecture)
        assert stored is not None, "evaluations are replaced, but never deleted"
        joined = _joined(stored, earlier, refined)
        earlier, refined = stored, evaluator.rescore(architecture, joined, report)
    return refined


def _joined(stored: Evaluation, earlier: Evaluation, refined: Evaluation) -> Evaluation:
    """Return a stored evaluation with those measurements of a refined one that it lacks.

    Args:
        stored: The stored evaluation.
        earlier: The evaluation that `refined` was made from.
        refined: An evaluation with the measurements of `earlier` and further ones.
    """
    pairs = zip(stored.measurements, earlier.measurements, strict=False)
    shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return replace(
        refined,
        seconds=stored.seconds + refined.seconds - earlier.seconds,
        measurements=(*stored.measurements, *refined.measurements[shared:]),
    )
