"""Runs the retrainings and remeasurements of a confirmation, resumable after any interruption."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from evaluators.cache import Cached, refine_cached
from evaluators.evaluator import (
    Evaluation,
    EvaluationFailed,
    Evaluator,
    Infeasible,
    Progress,
    Refinable,
    Report,
    Score,
)
from evaluators.jobs import JobRunner
from hardware.progress import Say, ignore_text
from search_space.architecture import Architecture
from studies.records import ConfirmationKey, Trial
from studies.search.concurrency import Work, work_concurrently
from studies.search.heartbeat import Heartbeat
from studies.search.interruptible import interruptible_evaluator
from studies.search.interrupts import Interrupts
from studies.search.stages import evaluated
from studies.storage.store import Store

# Including the first measurement of a candidate.
_MOST_RUNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationJob:
    """A retraining or remeasurement to run, with the evaluator that does it.

    Attributes:
        trial: The candidate.
        evaluator: The evaluator.
        seed: The seed of a training run; None for a timing.
        token_budget: The tokens of a training run; None for a timing.
        needed: The names of the scores of a timing that are measured again if they are provisional.
    """

    trial: Trial
    evaluator: Evaluator
    seed: int | None = None
    token_budget: int | None = None
    needed: frozenset[str] = frozenset()

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
        remarks: What the user should know about how the scores came about, as sentences.
    """

    job: ConfirmationJob
    scores: tuple[Score, ...]
    reason: str | None
    remarks: tuple[str, ...] = ()


JobEvent: TypeAlias = JobStarted | JobProgress | JobEnded
JobListener: TypeAlias = Callable[[JobEvent], None]


def run_confirmation_jobs(
    jobs: Iterable[ConfirmationJob],
    store: Store,
    listener: JobListener,
    notify: Say = ignore_text,
    runner: JobRunner | None = None,
) -> None:
    """Run jobs in order, except those that are done or that another process is working on.

    A timing whose needed scores are provisional is repeated up to twice before it is accepted.

    A failure is a result and is stored. Any other exception of an evaluator or the listener is
    propagated, including KeyboardInterrupt. The job can then be run later, as it can after the
    death of the process.

    Args:
        jobs: The jobs.
        store: Records which process works on which job, and the results.
        listener: Receives an event when a job starts, progresses or ends.
        notify: Receives a sentence when the database cannot be reached, and when it can again.
        runner: Carries out retrainings, as many at a time as it can; None runs one after the other
            in this process.
    """
    interrupts = Interrupts()
    with (
        interrupts.deferred(),
        store.outages.waiting_long(notify, interrupts.check),
        Heartbeat(store),
    ):
        claimed = (job for job in jobs if store.claim_confirmation(job.key))

        def begin() -> Work[None] | None:
            interrupts.check()
            job = next(claimed, None)
            return None if job is None else _released(job, store, listener, interrupts, runner)

        work_concurrently(begin, 1 if runner is None else runner.count, interrupts)


def _released(
    job: ConfirmationJob,
    store: Store,
    listener: JobListener,
    interrupts: Interrupts,
    runner: JobRunner | None,
) -> Work[None]:
    """Run a claimed job; if an exception is raised or the generator is closed, release it."""
    try:
        yield from _run_job(job, store, listener, interrupts, runner)
    except BaseException:
        with store.outages.not_waiting():
            store.release_confirmation(job.key)
        raise


def _run_job(
    job: ConfirmationJob,
    store: Store,
    listener: JobListener,
    interrupts: Interrupts,
    runner: JobRunner | None,
) -> Work[None]:
    assert job.trial.model is not None
    architecture = store.architecture(job.trial.model.hash)
    evaluator = interruptible_evaluator(job.evaluator, interrupts)
    start = time.monotonic()

    def report(progress: Progress) -> None:
        listener(JobProgress(job=job, progress=progress))

    listener(JobStarted(job=job))
    try:
        cached = Cached(evaluator=evaluator, cache=store)
        evaluation = yield from evaluated(cached, architecture, report, runner)
        if isinstance(evaluator, Refinable):
            evaluation = _refined(job, evaluator, architecture, evaluation, store, report)
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
        scores, remarks = evaluation.scores, evaluation.remarks
        listener(JobEnded(job=job, scores=scores, reason=None, remarks=remarks))


def _refined(
    job: ConfirmationJob,
    evaluator: Refinable,
    architecture: Architecture,
    evaluation: Evaluation,
    store: Store,
    report: Report,
) -> Evaluation:
    """Measure again while a needed score is provisional, and return the last evaluation.

    An evaluation without measurements of its own is computed from others, which are refined where
    they were made. If a repeat fails, the evaluation so far is accepted.
    """
    runs = store.runs(job.trial, evaluator.fingerprint)
    for _ in range(_MOST_RUNS - runs if runs else 0):
        provisional = [each.name for each in evaluation.scores if each.provisional]
        names = [name for name in provisional if name in job.needed]
        if not names:
            break
        text = f"the interval of {', '.join(names)} is too wide; measuring again"
        report(Progress(done=0.0, text=text))
        try:
            again = refine_cached(evaluator, architecture, evaluation, store, report)
        except (EvaluationFailed, Infeasible):
            break
        evaluation = replace(again, remarks=(*evaluation.remarks, *again.remarks))
    return evaluation
