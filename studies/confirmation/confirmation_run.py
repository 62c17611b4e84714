"""Runs the retrainings and remeasurements of a confirmation, resumable after any interruption."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from evaluators.cache import Cached
from evaluators.evaluator import EvaluationFailed, Evaluator, Infeasible, Progress, Score
from studies.records import ConfirmationKey, Trial
from studies.search.interrupts import Interrupts
from studies.search.stages import Interruptible
from studies.storage.store import Store

# Renewing a claim costs a transaction, and other processes respect it for an hour.
_SECONDS_BETWEEN_RENEWALS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationJob:
    """A retraining or remeasurement to run, with the evaluator that does it.

    Attributes:
        trial: The candidate.
        evaluator: The evaluator.
        seed: The seed of a training run; None for a timing.
        token_budget: The tokens of a training run; None for a timing.
    """

    trial: Trial
    evaluator: Evaluator
    seed: int | None = None
    token_budget: int | None = None

    @property
    def key(self) -> ConfirmationKey:
        """The stage as the store records it."""
        return ConfirmationKey(
            trial=self.trial.id,
            stage=self.evaluator.stage,
            fingerprint=self.evaluator.fingerprint,
            seed=self.seed,
            token_budget=self.token_budget,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted:
    """A job has started."""

    job: ConfirmationJob


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """The progress of a job."""

    job: ConfirmationJob
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """A job has ended.

    Attributes:
        job: The job.
        scores: Its scores; empty if it failed.
        reason: The reason for its failure; None if it succeeded.
    """

    job: ConfirmationJob
    scores: tuple[Score, ...]
    reason: str | None


JobEvent: TypeAlias = JobStarted | JobProgress | JobEnded
JobListener: TypeAlias = Callable[[JobEvent], None]


def run_confirmation_jobs(
    jobs: Iterable[ConfirmationJob], store: Store, listener: JobListener
) -> None:
    """Run jobs in order, except those that are done or that another process is working on.

    A failure is a result and is stored. Any other exception of an evaluator or the listener is
    propagated, including KeyboardInterrupt. The job can then be run later, as it can after the
    death of the process.

    Args:
        jobs: The jobs.
        store: Records which process works on which job, and the results.
        listener: Receives an event when a job starts, progresses or ends.
    """
    interrupts = Interrupts()
    with interrupts.deferred():
        for job in jobs:
            if not store.claim_confirmation(job.key):
                continue
            try:
                _run_job(job, store, listener, interrupts)
            except BaseException:
                store.release_confirmation(job.key)
                raise
            interrupts.check()


def _run_job(
    job: ConfirmationJob, store: Store, listener: JobListener, interrupts: Interrupts
) -> None:
    assert job.trial.model is not None
    architecture = store.architecture(job.trial.model.hash)
    evaluator = Cached(evaluator=Interruptible(job.evaluator, interrupts), cache=store)
    start = renewed_at = time.monotonic()

    def report(progress: Progress) -> None:
        nonlocal renewed_at
        listener(JobProgress(job=job, progress=progress))
        if time.monotonic() - renewed_at > _SECONDS_BETWEEN_RENEWALS:
            store.renew_confirmation(job.key)
            renewed_at = time.monotonic()

    listener(JobStarted(job=job))
    try:
        evaluation = evaluator.evaluate(architecture, report)
    except EvaluationFailed as failure:
        seconds = time.monotonic() - start
        store.end_confirmation(
            job.key, seconds=seconds, failure=failure.kind, reason=failure.reason
        )
        listener(JobEnded(job=job, scores=(), reason=f"{failure.kind}: {failure.reason}"))
    except Infeasible as infeasible:
        seconds = time.monotonic() - start
        store.end_confirmation(
            job.key, seconds=seconds, failure="build error", reason=str(infeasible)
        )
        listener(JobEnded(job=job, scores=(), reason=str(infeasible)))
    else:
        store.end_confirmation(job.key, seconds=time.monotonic() - start)
        listener(JobEnded(job=job, scores=evaluation.scores, reason=None))
