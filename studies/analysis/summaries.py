"""Summaries of a study as plain data: its progress, its front, one trial in detail."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from evaluators.calibration import Calibration, CalibrationKey
from evaluators.evaluator import Evaluation, Score
from evaluators.scores import is_timed, score_names
from hardware.measurement import Interval
from search_space.architecture import Architecture
from search_space.input_errors import one_of
from studies.analysis import pareto_front
from studies.analysis.followed_study import FollowedStudy, interrupted_if_lost
from studies.records import ScoredPoint, Trial, scored_point
from studies.spec.study_spec import StudySpec, asked_scores, from_json
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
        calibrations: What is known about the time of the paired reference model, by workload and
            device.
        provisional: The number of complete candidates with a provisional time.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An objective of a front.

    Attributes:
        name: The name of the score.
        unit: The unit of the score; empty if no trial has it yet.
        max: The limit, or None.
    """

    name: str
    unit: str
    max: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The Pareto front of a study, with each architecture once.

    Attributes:
        study: The name of the study.
        spec: The settings of the study.
        axes: The objectives.
        members: The complete candidates that no other one dominates, sorted by the first objective.
            One with a provisional objective dominates none.
        dominated: The other complete candidates, sorted by number.
        infeasible: The candidates that exceed a limit, sorted by number.
        references: The reference models that have the scores of all objectives.
        knee: The member farthest from the line between the extremes; None without members. One
            with a provisional objective is the knee only if all members are provisional.
        reference_point: The reference point of the hypervolume; see `hypervolume_reference`. Empty
            while no candidate is complete.
        hypervolume: The hypervolume of the members without provisional objectives.
    """

    study: str
    spec: StudySpec
    axes: tuple[Axis, ...]
    members: tuple[Trial, ...]
    dominated: tuple[ScoredPoint, ...]
    infeasible: tuple[ScoredPoint, ...]
    references: tuple[Trial, ...]
    knee: Trial | None
    reference_point: tuple[float, ...]
    hypervolume: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialDetail:
    """A trial with its architecture and the full results of its stages.

    Attributes:
        spec: The settings of the study.
        trial: The trial.
        architecture: Its architecture; None until one has been drawn.
        evaluations: The evaluation of each finished stage with its raw samples, by stage name.
        calibrations: The calibrations that its times were computed with, by what they apply to.
    """

    spec: StudySpec
    trial: Trial
    architecture: Architecture | None
    evaluations: Mapping[str, Evaluation]
    calibrations: Mapping[CalibrationKey, Calibration]


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
    spec = from_json(recorded.spec)
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
    )


def front(store: Store, study: str, scores: Iterable[str] = ()) -> Front:
    """Return the current Pareto front of a study.

    Args:
        store: The database.
        study: The name of the study.
        scores: Scores that the dominated points need in addition to the objectives.

    Raises:
        ValueError: The database has no study of this name.
    """
    spec = from_json(store.study(study).spec)
    names = _objectives(spec)
    complete = _unique(store.points(study, ["complete"], {*names, *scores}))
    numbers = [complete[index].number for index in _on_front(complete, names)]
    members = store.trials(study, numbers=numbers)
    return _front(
        spec,
        complete,
        members,
        infeasible=store.points(study, ["infeasible"], names),
        references=store.trials(study, "reference"),
    )


def study_summary(followed: FollowedStudy) -> StudySummary:
    """Summarize a followed study as of its last read."""
    spec, names = followed.spec, _objectives(followed.spec)
    candidates = [trial for trial in followed.trials.values() if trial.kind == "candidate"]
    candidates.sort(key=lambda trial: trial.number)
    originals = [trial for trial in candidates if trial.duplicate_of is None]
    by_number = {trial.number: trial for trial in originals}
    complete = _unique([scored_point(trial) for trial in originals if trial.state == "complete"])
    front = _front(
        spec,
        complete,
        [by_number[complete[index].number] for index in _on_front(complete, names)],
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


def hypervolume_reference(spec: StudySpec, complete: Sequence[ScoredPoint]) -> tuple[float, ...]:
    """Return the reference point of a study's hypervolume; it is stable while the study grows.

    For an objective with a limit, the coordinate is the limit. For all others, it is the worst
    value among the first complete candidates, as many as the sampler draws at random, plus a tenth
    of the range of their values.

    Args:
        spec: The settings of the study.
        complete: The complete candidates, sorted by number.

    Returns:
        One value per objective; empty if no candidate is complete.
    """
    names = _objectives(spec)
    first = _points(complete[: spec.sampler.startup_trials], names)
    if not first:
        return ()
    columns = list(zip(*first, strict=True))
    worst_values = (max(column) + (max(column) - min(column)) / 10 for column in columns)
    return tuple(
        worst if objective.max is None else objective.max
        for objective, worst in zip(spec.objectives, worst_values, strict=True)
    )


def best(store: Store, front: Front, score: str, limits: Mapping[str, float]) -> Trial | None:
    """Return the complete candidate with the lowest score among those within every limit.

    Args:
        store: The database.
        front: The front of the study, read with `score` and the names in `limits`.
        score: The score to minimise. It need not be an objective.
        limits: Upper limits of scores, by name.

    Returns:
        The candidate, or None if no candidate is within the limits.

    Raises:
        ValueError: No evaluator of the study gives a score of this name.
    """
    known = {name for trial in front.members for name in trial.values}
    known = known or set(score_names(front.spec.target.more_depths))
    for field, name in [("score", score), *(("max", name) for name in limits)]:
        if name not in known:
            raise ValueError(f"{field}: '{name}' is not {one_of(sorted(known))}")
    within = (
        point
        for point in (*map(scored_point, front.members), *front.dominated)
        if all(point.values[name] <= limit for name, limit in limits.items())
    )
    found = min(within, key=lambda point: (point.values[score], point.number), default=None)
    return None if found is None else store.trials(front.study, numbers=[found.number])[0]


def detail(store: Store, study: str, name: str) -> TrialDetail:
    """Return everything about one trial.

    Args:
        store: The database.
        study: The name of the study.
        name: The number of a candidate, or the name of a reference model.

    Raises:
        ValueError: The database has no such study, or the study has no such trial.
    """
    spec = from_json(store.study(study).spec)
    candidates, references = store.trials(study), store.trials(study, "reference")
    found = [trial for trial in (*candidates, *references) if str(trial.name) == name]
    if not found:
        ends = dict.fromkeys(str(trial.number) for trial in (*candidates[:1], *candidates[-1:]))
        known = [" to ".join(ends), *(str(trial.name) for trial in references)]
        raise ValueError(
            f"trial: '{name}' is neither a candidate number nor a reference model of "
            f"'{study}', which has {' and '.join(filter(None, known)) or 'none yet'}"
        )
    trial = found[0]
    return TrialDetail(
        spec=spec,
        trial=trial,
        architecture=None if trial.model is None else store.architecture(trial.model.hash),
        evaluations=store.evaluations(trial),
        calibrations={
            calibration.key: calibration
            for calibration in store.calibrations({run.fingerprint for run in trial.stages})
        },
    )


def is_provisional(spec: StudySpec, score: Score) -> bool:
    """Return whether a requested time is provisional.

    Earlier releases did not record it. In their scores, a time is provisional if its confidence
    interval is wider than `device.precision`.

    Args:
        spec: The settings of the study.
        score: Any score of one of its trials.
    """
    if score.name not in asked_scores(spec) or not is_timed(score.name):
        return False
    if score.provisional or score.measured is not None:
        return score.provisional
    if score.low is None or score.high is None:
        return True
    return Interval(low=score.low, high=score.high).half_width > spec.device.precision


def _front(
    spec: StudySpec,
    complete: Sequence[ScoredPoint],
    members: Iterable[Trial],
    *,
    infeasible: Sequence[ScoredPoint],
    references: Iterable[Trial],
) -> Front:
    names = _objectives(spec)
    members = sorted(members, key=lambda trial: _point(trial, names))
    on_front = {trial.number for trial in members}
    scored = [trial for trial in references if set(names) <= set(trial.values)]
    reference_point = hypervolume_reference(spec, complete)
    settled = [trial for trial in members if not trial.provisional(names)]
    for_knee = settled or members
    return Front(
        study=spec.name,
        spec=spec,
        axes=_axes(spec, [*members, *scored]),
        members=tuple(members),
        dominated=tuple(point for point in complete if point.number not in on_front),
        infeasible=tuple(infeasible),
        references=tuple(scored),
        knee=for_knee[pareto_front.knee(_points(for_knee, names))] if members else None,
        reference_point=reference_point,
        hypervolume=pareto_front.hypervolume(_points(settled, names), reference_point),
    )


def _advances(
    front: Front, complete: Iterable[Trial], candidates: Iterable[Trial]
) -> tuple[Advance, ...]:
    names = _objectives(front.spec)
    ends = sorted(trial.ended_at for trial in candidates if trial.ended_at is not None)
    timed = [
        (trial.ended_at, trial)
        for trial in complete
        if trial.ended_at is not None and not trial.provisional(names)
    ]
    timed.sort(key=lambda pair: (pair[0], pair[1].number))
    points = [_point(trial, names) for _, trial in timed]
    return tuple(
        Advance(trial=trial, at=at, ended=bisect_right(ends, at), hypervolume=each.hypervolume)
        for each in pareto_front.hypervolume_growth(points, front.reference_point)
        for at, trial in [timed[each.index]]
    )


def _on_front(complete: Sequence[ScoredPoint], names: Sequence[str]) -> tuple[int, ...]:
    return pareto_front.non_dominated(
        _points(complete, names), [bool(point.provisional & set(names)) for point in complete]
    )


def _unique(points: Iterable[ScoredPoint]) -> list[ScoredPoint]:
    """Keep each architecture once; two processes may have evaluated it at the same time."""
    found: dict[str, ScoredPoint] = {}
    for point in points:
        found.setdefault(point.architecture, point)
    return list(found.values())


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


def _axes(spec: StudySpec, trials: Iterable[Trial]) -> tuple[Axis, ...]:
    units = {score.name: score.unit for trial in trials for score in trial.scores}
    return tuple(
        Axis(name=objective.name, unit=units.get(objective.name, ""), max=objective.max)
        for objective in spec.objectives
    )


def _objectives(spec: StudySpec) -> list[str]:
    return [objective.name for objective in spec.objectives]


def _points(trials: Iterable[Trial | ScoredPoint], names: Sequence[str]) -> list[tuple[float, ...]]:
    return [_point(trial, names) for trial in trials]


def _point(trial: Trial | ScoredPoint, names: Sequence[str]) -> tuple[float, ...]:
    values = trial.values
    return tuple(values[name] for name in names)
