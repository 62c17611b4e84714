"""Jobs: evaluations as objects, which other processes can carry out."""

from typing import Protocol, TypeAlias, runtime_checkable

from evaluators.evaluator import Evaluation, Evaluator, Progress, Refinable, Report
from search_space.architecture import Architecture


class Job(Protocol):
    """The work of one evaluation, which can be pickled."""

    def run(self, report: Report) -> Evaluation:
        """Do the work; see `Evaluator.evaluate`.

        Args:
            report: Receives the progress.

        Raises:
            EvaluationFailed: The architecture has no score.
            Infeasible: The architecture violates a requirement of the study.
        """
        ...


@runtime_checkable
class JobEvaluator(Evaluator, Protocol):
    """An Evaluator whose work can be carried out by another process.

    `evaluate` prepares a job and runs it at once.
    """

    def prepare(self, architecture: Architecture, report: Report) -> Job:
        """Return the job that evaluates an architecture.

        Args:
            architecture: The candidate or reference model.
            report: Receives the progress of the preparation.

        Raises:
            EvaluationFailed: The preparation failed, as the training of a shared network may.
            Infeasible: The architecture violates a requirement of the study.
        """
        ...


@runtime_checkable
class MeasuringEvaluator(Refinable, Protocol):
    """A Refinable whose measurements can be made by another process.

    The process that has the database computes the scores from them.
    """

    def job(self, architecture: Architecture) -> Job:
        """Return the job that measures an architecture; its evaluation has no scores."""
        ...

    def conclude(self, measured: Evaluation, earlier: Evaluation | None) -> Evaluation:
        """Return the evaluation with the scores that follow from its measurements.

        Args:
            measured: The evaluation of the job.
            earlier: An earlier evaluation of the same architecture, whose measurements count, too.
        """
        ...


Message: TypeAlias = Progress | Evaluation
"""The progress of a job, or its result, which is the last message."""


class RunningJob(Protocol):
    """A job that another process carries out."""

    def fileno(self) -> int:
        """Return a file descriptor that is readable once `receive` does not have to wait."""
        ...

    def receive(self) -> Message | None:
        """Return the next message, or None if what arrived was not a message about this job.

        If the process of the job dies, the job may be carried out again. The next message is then
        progress with a remark that gives the reason.

        Raises:
            EvaluationFailed: The job failed, or its process died.
            Infeasible: The architecture violates a requirement of the study.
            ValueError: No process can carry out the job, whatever the architecture is.
        """
        ...

    def stop(self) -> None:
        """Stop the job, unless it has ended."""
        ...


class JobRunner(Protocol):
    """Carries out several jobs at the same time.

    `Trainers` does so with processes of this machine.
    """

    @property
    def count(self) -> int:
        """The number of jobs that can be carried out at the same time; at least 1."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether that many jobs are running."""
        ...

    def start(self, job: Job) -> RunningJob:
        """Start a job. Fewer than `count` others are running."""
        ...
