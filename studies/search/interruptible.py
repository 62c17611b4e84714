"""Evaluators that Ctrl-C interrupts while they work, but not while they report progress."""

from evaluators.evaluator import Evaluation, Evaluator, Progress, Refinable, Report
from evaluators.jobs import Job, JobEvaluator, MeasuringEvaluator
from search_space.architecture import Architecture
from studies.search.interrupts import Interrupts


def interruptible_evaluator(evaluator: Evaluator, interrupts: Interrupts) -> Evaluator:
    """Return the evaluator such that Ctrl-C interrupts it while it works.

    Args:
        evaluator: The evaluator. If it is `Refinable`, a `MeasuringEvaluator` or a `JobEvaluator`,
            so is the result.
        interrupts: Decides when Ctrl-C is raised.
    """
    if isinstance(evaluator, MeasuringEvaluator):
        return InterruptibleMeasuring(evaluator, interrupts)
    if isinstance(evaluator, Refinable):
        return InterruptibleRefinable(evaluator, interrupts)
    if isinstance(evaluator, JobEvaluator):
        return InterruptibleJobEvaluator(evaluator, interrupts)
    return Interruptible(evaluator, interrupts)


class Interruptible:
    """An Evaluator that Ctrl-C interrupts while it works, but not while it reports progress."""

    def __init__(self, evaluator: Evaluator, interrupts: Interrupts) -> None:
        self.stage = evaluator.stage
        self.fingerprint = evaluator.fingerprint
        self.score_names = evaluator.score_names
        self._evaluator = evaluator
        self._interrupts = interrupts

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Evaluate with the wrapped evaluator; see `Evaluator.evaluate`.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        with self._interrupts.immediate():
            return self._evaluator.evaluate(architecture, self._uninterrupted(report))

    def _uninterrupted(self, report: Report) -> Report:
        def report_uninterrupted(progress: Progress) -> None:
            with self._interrupts.deferred_again():
                report(progress)

        return report_uninterrupted


class InterruptibleRefinable(Interruptible):
    """An `Interruptible` that wraps a `Refinable`, and is one."""

    def __init__(self, evaluator: Refinable, interrupts: Interrupts) -> None:
        super().__init__(evaluator, interrupts)
        self._refinable = evaluator

    def refine(self, architecture: Architecture, earlier: Evaluation, report: Report) -> Evaluation:
        """Measure again with the wrapped evaluator; see `Refinable.refine`.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        with self._interrupts.immediate():
            return self._refinable.refine(architecture, earlier, self._uninterrupted(report))

    def rescore(
        self, architecture: Architecture, evaluation: Evaluation, report: Report
    ) -> Evaluation:
        """Compute scores with the wrapped evaluator; see `Refinable.rescore`.

        This is quick, and Ctrl-C does not interrupt it: some measurements are not stored yet.
        """
        return self._refinable.rescore(architecture, evaluation, report)


class InterruptibleMeasuring(InterruptibleRefinable):
    """An `InterruptibleRefinable` that wraps a `MeasuringEvaluator`, and is one."""

    def __init__(self, evaluator: MeasuringEvaluator, interrupts: Interrupts) -> None:
        super().__init__(evaluator, interrupts)
        self._measuring = evaluator

    def job(self, architecture: Architecture) -> Job:
        """Return the job of the wrapped evaluator; see `MeasuringEvaluator.job`."""
        return self._measuring.job(architecture)

    def conclude(self, measured: Evaluation, earlier: Evaluation | None) -> Evaluation:
        """Conclude with the wrapped evaluator; see `MeasuringEvaluator.conclude`.

        This is quick, and Ctrl-C does not interrupt it: some measurements are not stored yet.
        """
        return self._measuring.conclude(measured, earlier)


class InterruptibleJobEvaluator(Interruptible):
    """An `Interruptible` that wraps a `JobEvaluator`, and is one."""

    def __init__(self, evaluator: JobEvaluator, interrupts: Interrupts) -> None:
        super().__init__(evaluator, interrupts)
        self._job_evaluator = evaluator

    def prepare(self, architecture: Architecture, report: Report) -> Job:
        """Prepare a job with the wrapped evaluator; see `JobEvaluator.prepare`.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        with self._interrupts.immediate():
            return self._job_evaluator.prepare(architecture, self._uninterrupted(report))
