"""Summaries of all trials of a study: its progress, and how its front grew."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from evaluators.calibration import Calibration, CalibrationKey
from studies.analysis import pareto_front
from studies.analysis.calibrated_devices import calibrated_devices
from studies.analysis.followed_study import FollowedStudy, interrupted_if_lost
from studies.analysis.study_front import (
    Front,
    front_numbers,
    front_of,
    is_provisional,
    objective_names,
    objective_values,
    unique_points,
)
from studies.records import Trial, scored_point
from studies.spec.study_spec import from_json
from studies.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The number of candidates in each state.

    Attributes:
        complete: All stages were finished.
        infeasible: A limit was exceeded.
        stopped: Stopped early.
        failed: Could not be evaluated.
        running: A process is working on them.
        interrupted: Waiting to be resumed.
        duplicates: How many of the above share the outcome of an earlier trial.
        rejected: Draws that a rule of the space rejected; they are not candidates.
    """

    complete: int
    infeasible: int
    stopped: int
    failed: int
    running: int
    interrupted: int
    duplicates: int
    rejected: int

    @property
    def ended(self) -> int:
        """The number of candidates that have ended."""
        return self.complete + self.infeasible + self.stopped + self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The progress of a study.

    Attributes:
        study: The name of the study.
        total: The total number of candidates, including finished ones.
        counts: The number of candidates in each state.
        running: The trials that a process is working on, reference models included.
        failures: The trials that failed and are not duplicates, reference models included.
        references: The trials of reference models.
        rejections: The number of draws that each rule of the space rejected.
        stage_seconds: The time that each stage took over all trials, in seconds.
        created_at: The time at which the study was started.
        calibrations: The time of the paired reference model, for each workload and device.
        provisional: The number of complete candidates with a provisional time.
        calibrated_devices: The names of the devices that each calibration applies to. Those of the
            machine that runs the study are left out.
    """

    study: str
    total: int
    counts: Counts
    running: tuple[Trial, ...]
    failures: tuple[Trial, ...]
    references: tuple[Trial, ...]
    rejections: Mapping[str, int]
    stage_seconds: Mapping[str, float]
    created_at: datetime
    calibrations: tuple[Calibration, ...]
    provisional: int
    calibrated_devices: Mapping[CalibrationKey, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """A candidate that increased the hypervolume.

    Attributes:
        trial: The candidate.
        at: The time at which it was complete.
        ended: The number of candidates that had ended by then, including this one.
        hypervolume: The hypervolume from then on.
    """

    trial: Trial
    at: datetime
    ended: int
    hypervolume: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySummary:
    """A summary of all trials of a followed study.

    Attributes:
        counts: The number of candidates in each state.
        front: The Pareto front.
        complete: The complete candidates, sorted by number, with each architecture once.
        advances: The candidates that increased the hypervolume, in the order in which they ended.
    """

    counts: Counts
    front: Front
    complete: tuple[Trial, ...]
    advances: tuple[Advance, ...]


def status(store: Store, study: str) -> Status:
    """Return the progress of a study.

    Args:
        store: The database.
        study: The name of the study.

    Raises:
        ValueError: The database has no study of this name.
    """
    recorded = store.study(study)
    spec = from_json(recorded.spec, study)
    candidates = [interrupted_if_lost(trial) for trial in store.trials(study)]
    references = tuple(interrupted_if_lost(trial) for trial in store.trials(study, "reference"))
    trials = [*references, *candidates]
    rejections = store.rejections(study)
    seconds: dict[str, float] = defaultdict(float)
    for run in (run for trial in trials for run in trial.stages):
        seconds[run.stage] += run.seconds
    return Status(
        study=study,
        total=spec.trials,
        counts=_counts(candidates, rejected=sum(rejections.values())),
        running=tuple(t for t in trials if t.state == "running"),
        failures=tuple(t for t in trials if t.state == "failed" and t.duplicate_of is None),
        references=references,
        rejections=rejections,
        stage_seconds=seconds,
        created_at=recorded.created_at,
        calibrations=store.calibrations(
            {run.fingerprint for trial in trials for run in trial.stages}
        ),
        provisional=sum(
            trial.state == "complete" and any(is_provisional(spec, score) for score in trial.scores)
            for trial in candidates
        ),
        calibrated_devices=calibrated_devices(store, trials),
    )


def study_summary(followed: FollowedStudy) -> StudySummary:
    """Summarize a followed study as of its last read."""
    spec = followed.spec
    candidates = [trial for trial in followed.trials.values() if trial.kind == "candidate"]
    candidates.sort(key=lambda trial: trial.number)
    originals = [trial for trial in candidates if trial.duplicate_of is None]
    by_number = {trial.number: trial for trial in originals}
    complete = unique_points(
        [scored_point(trial) for trial in originals if trial.state == "complete"]
    )
    front = front_of(
        spec,
        complete,
        [by_number[number] for number in front_numbers(spec, complete)],
        infeasible=[scored_point(trial) for trial in originals if trial.state == "infeasible"],
        references=[trial for trial in followed.trials.values() if trial.kind == "reference"],
    )
    trials = tuple(by_number[point.number] for point in complete)
    return StudySummary(
        counts=_counts(candidates, rejected=sum(followed.rejections.values())),
        front=front,
        complete=trials,
        advances=_advances(front, trials, candidates),
    )


def _advances(
    front: Front, complete: Iterable[Trial], candidates: Iterable[Trial]
) -> tuple[Advance, ...]:
    names = objective_names(front.spec)
    ends = sorted(trial.ended_at for trial in candidates if trial.ended_at is not None)
    timed = [
        (trial.ended_at, trial)
        for trial in complete
        if trial.ended_at is not None and not trial.provisional(names)
    ]
    timed.sort(key=lambda pair: (pair[0], pair[1].number))
    points = [objective_values(trial, names) for _, trial in timed]
    return tuple(
        Advance(trial=trial, at=at, ended=bisect_right(ends, at), hypervolume=each.hypervolume)
        for each in pareto_front.hypervolume_growth(points, front.reference_point)
        for at, trial in [timed[each.index]]
    )


def _counts(candidates: Sequence[Trial], *, rejected: int) -> Counts:
    states = Counter(trial.state for trial in candidates)
    return Counts(
        complete=states["complete"],
        infeasible=states["infeasible"],
        stopped=states["stopped"],
        failed=states["failed"],
        running=states["running"],
        interrupted=states["interrupted"],
        duplicates=sum(trial.duplicate_of is not None for trial in candidates),
        rejected=rejected,
    )
