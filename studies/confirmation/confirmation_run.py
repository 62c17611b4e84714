"""Trains and times candidates once more, to confirm them; resumable at any moment."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from evaluators.cache import Cached
from evaluators.evaluator import EvaluationFailed, Evaluator, Infeasible, Progress, Score
from studies.records import ConfirmationStage, Trial
from studies.search.interrupts import Interrupts
from studies.search.stages import Interruptible
from studies.storage.store import Store

# Each sign of life is a transaction; others wait an hour for one.
_SIGN_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationJob:
    """A stage of a candidate once more, and the evaluator that does it; see records.Repeat."""

    trial: Trial
    evaluator: Evaluator
    seed: int | None = None
    token_budget: int | None = None

    @property
    def repeat(self) -> ConfirmationStage:
        return ConfirmationStage(
            trial=self.trial.id,
            stage=self.evaluator.stage,
            fingerprint=self.evaluator.fingerprint,
            seed=self.seed,
            token_budget=self.token_budget,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted:
    job: ConfirmationJob


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    job: ConfirmationJob
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """scores: empty for one that failed, for this reason."""

    job: ConfirmationJob
    scores: tuple[Score, ...]
    reason: str | None


JobEvent: TypeAlias = JobStarted | JobProgress | JobEnded
JobListener: TypeAlias = Callable[[JobEvent], None]


def carry_out(jobs: Iterable[ConfirmationJob], store: Store, listener: JobListener) -> None:
    """One after another, but for those that are done and those that another process works on.

    A failure is a result and is stored. Whatever else an evaluator or the listener raises, and
    KeyboardInterrupt, passes on and leaves the job for another time, as does the death of the
    process.
    """
    interrupts = Interrupts()
    with interrupts.held_back():
        for job in jobs:
            repeat = job.repeat
            if not store.claim_confirmation(repeat):
                continue
            try:
                _carry_out(job, store, listener, interrupts)
            except BaseException:
                store.release_confirmation(repeat)
                raise
            interrupts.check()


def _carry_out(
    job: ConfirmationJob, store: Store, listener: JobListener, interrupts: Interrupts
) -> None:
    assert job.trial.model is not None
    architecture = store.architecture(job.trial.model.hash)
    evaluator = Cached(evaluator=Interruptible(job.evaluator, interrupts), memory=store)
    start = signed_at = time.monotonic()

    def report(progress: Progress) -> None:
        nonlocal signed_at
        listener(JobProgress(job=job, progress=progress))
        if time.monotonic() - signed_at > _SIGN_SECONDS:
            store.renew_confirmation(job.repeat)
            signed_at = time.monotonic()

    listener(JobStarted(job=job))
    try:
        evaluation = evaluator.evaluate(architecture, report)
    except EvaluationFailed as failure:
        seconds = time.monotonic() - start
        store.end_confirmation(
            job.repeat, seconds=seconds, failure=failure.kind, reason=failure.reason
        )
        listener(JobEnded(job=job, scores=(), reason=f"{failure.kind}: {failure.reason}"))
    except Infeasible as refusal:
        seconds = time.monotonic() - start
        store.end_confirmation(
            job.repeat, seconds=seconds, failure="build error", reason=str(refusal)
        )
        listener(JobEnded(job=job, scores=(), reason=str(refusal)))
    else:
        store.end_confirmation(job.repeat, seconds=time.monotonic() - start)
        listener(JobEnded(job=job, scores=evaluation.scores, reason=None))
