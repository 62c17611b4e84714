"""How long the processes that run a study have worked on it, and how long they still need."""

import math
import statistics
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from studies.analysis.followed_study import interrupted_if_lost
from studies.owner import Owner
from studies.records import Trial
from studies.spec.study_spec import from_json
from studies.storage.store import Store

MOST_RECENT = 20
"""The mean time of this many recent candidates predicts that of the next ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTimes:
    """The times of the processes that are running a study.

    Attributes:
        so_far_s: The time since they began, in seconds; None if the study was resumed and no trial
            has ended since.
        left_s: The estimated time left, in seconds; None until a candidate has ended.
    """

    so_far_s: float | None
    left_s: float | None


def run_times(store: Store, study: str, now: datetime) -> RunTimes | None:
    """Return the times of the processes that are running a study; None if there are none.

    The time left is the mean time of the recent candidates for each of those to come, divided by
    the number of trials that are at work at the same time. Candidates at work are halfway through,
    on average.

    Args:
        store: The database.
        study: The name of the study.
        now: The present time.

    Raises:
        ValueError: The database has no study of this name, or it is damaged.
    """
    total = from_json(store.study(study).spec, study).trials
    candidates = [interrupted_if_lost(trial) for trial in store.trials(study)]
    references = [interrupted_if_lost(trial) for trial in store.trials(study, "reference")]
    trials = [*references, *candidates]
    at_work = [trial for trial in trials if trial.state == "running"]
    if not at_work:
        return None
    processes = {trial.owner for trial in at_work}
    begun_at = _begun_at(trials, processes)
    ended = [trial for trial in candidates if trial.outcome is not None]
    left_s = None
    if ended:
        seconds = [stage_seconds(each) + saved_seconds(store, each) for each in _recent(ended)]
        to_come = total - len(ended) - sum(trial in at_work for trial in candidates) / 2
        parallel = max(len(at_work), _at_work_at_last_end(trials, processes))
        left_s = max(0.0, to_come) * statistics.fmean(seconds) / parallel
    return RunTimes(
        so_far_s=None if begun_at is None else max(0.0, (now - begun_at).total_seconds()),
        left_s=left_s,
    )


def stage_seconds(trial: Trial) -> float:
    """Return the time that the stages of a trial took, in seconds."""
    return math.fsum(run.seconds for run in trial.stages)


def saved_seconds(store: Store, trial: Trial) -> float:
    """Return how much longer the evaluations of a trial took originally than in its stages.

    A cached evaluation saves this time, in seconds.
    """
    took = {stage: evaluation.seconds for stage, evaluation in store.evaluations(trial).items()}
    return math.fsum(max(0.0, took.get(run.stage, 0.0) - run.seconds) for run in trial.stages)


def _recent(ended: Iterable[Trial]) -> list[Trial]:
    """Return the candidates that ended last."""

    def end(trial: Trial) -> datetime:
        assert trial.ended_at is not None
        return trial.ended_at

    return sorted(ended, key=end)[-MOST_RECENT:]


def _at_work_at_last_end(trials: Iterable[Trial], processes: Container[Owner | None]) -> int:
    """Return how many trials of these processes were at work when one of them last ended.

    A moment later the next one has not been claimed yet, so that fewer are at work.
    """
    own = [trial for trial in trials if trial.owner in processes]
    last = max((trial.ended_at for trial in own if trial.ended_at is not None), default=None)
    return sum(
        last is not None
        and trial.started_at < last
        and (trial.ended_at is None or trial.ended_at == last)
        for trial in own
    )


def _begun_at(trials: Sequence[Trial], processes: Container[Owner | None]) -> datetime | None:
    """Return when these processes, which are at work, began, as far as their trials show.

    A trial that was resumed has the time at which another process claimed it, perhaps long ago. In
    a resumed study, the time of the stages before the end of a trial counts instead.
    """
    if all(trial.owner in processes for trial in trials):
        return min(trial.started_at for trial in trials)
    begun = (
        trial.ended_at - timedelta(seconds=stage_seconds(trial))
        for trial in trials
        if trial.ended_at is not None and trial.owner in processes
    )
    return min(begun, default=None)
