"""Read-only answers about a study, as plain data."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from evaluators.evaluator import Evaluation, Score
from evaluators.scores import is_timed, score_names
from hardware.measurement import Interval
from search_space.architecture import Architecture
from search_space.strict import one_of
from studies.analysis import pareto_front
from studies.analysis.followed_study import Followed, released
from studies.analysis.hypervolume_growth import growth
from studies.records import ScoredPoint, Trial, scored_point
from studies.spec.study_spec import StudySpec, asked_scores, from_json
from studies.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Candidates by state; duplicates are among them. rejected: draws that a rule refused."""

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
        return self.complete + self.infeasible + self.stopped + self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where a study stands.

    wanted: candidates that it is to have.
    running: the trials that some process works on now, references among them.
    failures: the trials that failed and are no duplicates, references among them.
    rejections: refused draws by rule of the space.
    stage_seconds: what each stage has taken so far, over all trials.
    """

    study: str
    wanted: int
    counts: Counts
    running: tuple[Trial, ...]
    failures: tuple[Trial, ...]
    references: tuple[Trial, ...]
    rejections: Mapping[str, int]
    stage_seconds: Mapping[str, float]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An objective, the unit of its score, and its budget if it has one."""

    name: str
    unit: str
    max: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The candidates of a study as its objectives order them; each architecture once.

    members: complete, and no other complete candidate is better in everything; by the first axis.
    dominated: the other complete ones; infeasible: those above a budget, by number.
    references: the reference models that have every objective's score.
    knee: the member that bulges most; None where there is no member.
    reference_point: see `hypervolume_reference`; empty, as long as no candidate is complete.
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
    """A trial with its architecture, and what each finished stage found, samples and all."""

    spec: StudySpec
    trial: Trial
    architecture: Architecture | None
    evaluations: Mapping[str, Evaluation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """The hypervolume once this candidate was complete.

    ended: how many candidates had ended then, this one among them.
    """

    trial: Trial
    at: datetime
    ended: int
    hypervolume: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySummary:
    """What follows from all trials of a study that is followed.

    complete: the candidates, by number, each architecture once.
    advances: one entry for every candidate that made the hypervolume larger, by when it ended.
    """

    counts: Counts
    front: Front
    complete: tuple[Trial, ...]
    advances: tuple[Advance, ...]


def status(store: Store, study: str) -> Status:
    """ValueError if there is no such study, here and below."""
    recorded = store.study(study)
    candidates = [released(trial) for trial in store.trials(study)]
    references = tuple(released(trial) for trial in store.trials(study, "reference"))
    trials = [*references, *candidates]
    rejections = store.rejections(study)
    seconds: dict[str, float] = defaultdict(float)
    for run in (run for trial in trials for run in trial.stages):
        seconds[run.stage] += run.seconds
    return Status(
        study=study,
        wanted=from_json(recorded.spec).trials,
        counts=_counts(candidates, rejected=sum(rejections.values())),
        running=tuple(t for t in trials if t.state == "running"),
        failures=tuple(t for t in trials if t.state == "failed" and t.duplicate_of is None),
        references=references,
        rejections=rejections,
        stage_seconds=seconds,
        created_at=recorded.created_at,
    )


def front(store: Store, study: str, scores: Iterable[str] = ()) -> Front:
    """The front as it is now; the points have the objectives and these scores."""
    spec = from_json(store.study(study).spec)
    names = _objectives(spec)
    complete = _different(store.points(study, ["complete"], {*names, *scores}))
    numbers = [complete[index].number for index in pareto_front.front(_points(complete, names))]
    members = store.trials(study, numbers=numbers)
    return _front(
        spec,
        complete,
        members,
        infeasible=store.points(study, ["infeasible"], names),
        references=store.trials(study, "reference"),
    )


def study_summary(followed: Followed) -> StudySummary:
    """Where a study that is followed stands, as it was read last."""
    spec, names = followed.spec, _objectives(followed.spec)
    candidates = [trial for trial in followed.trials.values() if trial.kind == "candidate"]
    candidates.sort(key=lambda trial: trial.number)
    originals = [trial for trial in candidates if trial.duplicate_of is None]
    by_number = {trial.number: trial for trial in originals}
    complete = _different([scored_point(trial) for trial in originals if trial.state == "complete"])
    front = _front(
        spec,
        complete,
        [by_number[complete[n].number] for n in pareto_front.front(_points(complete, names))],
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
    """The corner from which the hypervolume of a study is measured; it stays as the study grows.

    In each objective the budget, where there is one; else the worst value among the first complete
    candidates, as many as the sampler draws at random, and a tenth of their extent beyond it.
    Empty if there are none.
    """
    names = _objectives(spec)
    first = _points(complete[: spec.sampler.startup_trials], names)
    if not first:
        return ()
    columns = list(zip(*first, strict=True))
    beyond = (max(column) + (max(column) - min(column)) / 10 for column in columns)
    return tuple(
        worst if objective.max is None else objective.max
        for objective, worst in zip(spec.objectives, beyond, strict=True)
    )


def best(store: Store, front: Front, score: str, limits: Mapping[str, float]) -> Trial | None:
    """The complete candidate that is smallest in one score among those within every limit.

    Scores are those of the evaluators, objectives or not; `front` was asked for with them.
    ValueError for one that there is not.
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
    """A candidate by its number, or a reference by its name, as a person writes it."""
    spec = from_json(store.study(study).spec)
    candidates, references = store.trials(study), store.trials(study, "reference")
    found = [trial for trial in (*candidates, *references) if str(trial.name) == name]
    if not found:
        ends = dict.fromkeys(str(trial.number) for trial in (*candidates[:1], *candidates[-1:]))
        known = [" to ".join(ends), *(str(trial.name) for trial in references)]
        raise ValueError(
            f"trial: '{name}' is not a candidate's number or a reference of '{study}', which has "
            f"{' and '.join(filter(None, known)) or 'none yet'}"
        )
    trial = found[0]
    return TrialDetail(
        spec=spec,
        trial=trial,
        architecture=None if trial.model is None else store.architecture(trial.model.hash),
        evaluations=store.evaluations(trial),
    )


def is_unsettled(spec: StudySpec, score: Score) -> bool:
    """Whether a timing that the study judges by ended before it was as precise as it asks for."""
    if score.name not in asked_scores(spec) or not is_timed(score.name):
        return False
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
    corner = hypervolume_reference(spec, complete)
    return Front(
        study=spec.name,
        spec=spec,
        axes=_axes(spec, [*members, *scored]),
        members=tuple(members),
        dominated=tuple(point for point in complete if point.number not in on_front),
        infeasible=tuple(infeasible),
        references=tuple(scored),
        knee=members[pareto_front.knee(_points(members, names))] if members else None,
        reference_point=corner,
        hypervolume=pareto_front.hypervolume(_points(members, names), corner),
    )


def _advances(
    front: Front, complete: Iterable[Trial], candidates: Iterable[Trial]
) -> tuple[Advance, ...]:
    names = _objectives(front.spec)
    ends = sorted(trial.ended_at for trial in candidates if trial.ended_at is not None)
    timed = [(trial.ended_at, trial) for trial in complete if trial.ended_at is not None]
    timed.sort(key=lambda pair: (pair[0], pair[1].number))
    points = [_point(trial, names) for _, trial in timed]
    return tuple(
        Advance(trial=trial, at=at, ended=bisect_right(ends, at), hypervolume=each.hypervolume)
        for each in growth(points, front.reference_point)
        for at, trial in [timed[each.index]]
    )


def _different(points: Iterable[ScoredPoint]) -> list[ScoredPoint]:
    """Each architecture once, also where two processes worked on it in the same moment."""
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
