"""Read-only answers about a study, as plain data."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from evaluators.evaluator import Evaluation, Score
from search_space.architecture import Architecture
from search_space.strict import one_of
from studies import pareto
from studies.owner import is_lost
from studies.records import Trial
from studies.scores import is_timed, score_names
from studies.spec import StudySpec, asked_scores, from_json
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
    dominated: the other complete ones; infeasible: those above a budget.
    references: the reference models that have every objective's score.
    knee: the member that bulges most; None where there is no member.
    reference_point: see `hypervolume_reference`; empty, as long as no candidate is complete.
    """

    study: str
    spec: StudySpec
    axes: tuple[Axis, ...]
    members: tuple[Trial, ...]
    dominated: tuple[Trial, ...]
    infeasible: tuple[Trial, ...]
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
    """The hypervolume once this candidate was complete."""

    number: int
    hypervolume: float


def status(store: Store, study: str) -> Status:
    """ValueError if there is no such study, here and below."""
    recorded = store.study(study)
    candidates = [_released(trial) for trial in store.trials(study)]
    references = tuple(_released(trial) for trial in store.trials(study, "reference"))
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


def front(store: Store, study: str) -> Front:
    """The front as it is now."""
    spec = from_json(store.study(study).spec)
    names = [objective.name for objective in spec.objectives]
    candidates = [trial for trial in store.trials(study) if trial.duplicate_of is None]
    complete = _complete(candidates)
    references = [t for t in store.trials(study, "reference") if set(names) <= set(t.values)]
    points = _points(complete, names)
    on_front = set(pareto.front(points))
    members = [trial for index, trial in enumerate(complete) if index in on_front]
    members.sort(key=lambda trial: _point(trial, names))
    corner = hypervolume_reference(spec, complete)
    return Front(
        study=study,
        spec=spec,
        axes=_axes(spec, [*candidates, *references]),
        members=tuple(members),
        dominated=tuple(t for index, t in enumerate(complete) if index not in on_front),
        infeasible=tuple(trial for trial in candidates if trial.state == "infeasible"),
        references=tuple(references),
        knee=members[pareto.knee(_points(members, names))] if members else None,
        reference_point=corner,
        hypervolume=pareto.hypervolume(points, corner),
    )


def hypervolume_reference(spec: StudySpec, complete: Sequence[Trial]) -> tuple[float, ...]:
    """The corner from which the hypervolume of a study is measured; it stays as the study grows.

    In each objective the budget, where there is one; else the worst value among the first complete
    candidates, as many as the sampler draws at random, and a tenth of their extent beyond it.
    Empty if there are none.
    """
    names = [objective.name for objective in spec.objectives]
    first = _points(complete[: spec.sampler.startup_trials], names)
    if not first:
        return ()
    columns = list(zip(*first, strict=True))
    beyond = (max(column) + (max(column) - min(column)) / 10 for column in columns)
    return tuple(
        worst if objective.max is None else objective.max
        for objective, worst in zip(spec.objectives, beyond, strict=True)
    )


def advances(store: Store, study: str) -> tuple[Advance, ...]:
    """How the hypervolume grew: one entry for every candidate that made it larger."""
    spec = from_json(store.study(study).spec)
    names = [objective.name for objective in spec.objectives]
    complete = _complete(store.trials(study))
    corner = hypervolume_reference(spec, complete)
    found: list[Advance] = []
    kept: list[tuple[float, ...]] = []
    for trial in complete:
        kept.append(_point(trial, names))
        volume = pareto.hypervolume(kept, corner)
        if volume > (found[-1].hypervolume if found else 0.0):
            found.append(Advance(number=trial.number, hypervolume=volume))
        else:
            kept.pop()
    return tuple(found)


def best(front: Front, score: str, limits: Mapping[str, float]) -> Trial | None:
    """The complete candidate that is smallest in one score among those within every limit.

    Scores are those of the evaluators, objectives or not. ValueError for one that there is not.
    """
    complete = [*front.members, *front.dominated]
    known = sorted(
        {name for trial in complete for name in trial.values}
        or score_names(front.spec.target.more_depths)
    )
    for field, name in [("score", score), *(("max", name) for name in limits)]:
        if name not in known:
            raise ValueError(f"{field}: '{name}' is not {one_of(known)}")
    within = (
        trial
        for trial in complete
        if all(trial.values[name] <= limit for name, limit in limits.items())
    )
    return min(within, key=lambda trial: (trial.values[score], trial.number), default=None)


def detail(store: Store, study: str, name: str) -> TrialDetail:
    """A candidate by its number, or a reference by its name, as a person writes it."""
    spec = from_json(store.study(study).spec)
    found = [t for t in store.trials(study, "reference") if t.reference == name]
    if name.isdecimal():
        found = [trial for trial in store.trials(study) if str(trial.number) == name]
    if not found:
        raise ValueError(f"trial: '{name}' is not a candidate's number or a reference of '{study}'")
    (trial,) = found
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
    return (score.high - score.low) / 2 > spec.device.precision * score.value


def _complete(candidates: Iterable[Trial]) -> list[Trial]:
    """Each architecture once, also where two processes worked on it in the same moment."""
    found: dict[str, Trial] = {}
    for trial in candidates:
        if trial.state == "complete" and trial.model is not None:
            found.setdefault(trial.model.hash, trial)
    return list(found.values())


def _released(trial: Trial) -> Trial:
    """A trial whose process has died, as the next run will find it: interrupted."""
    if trial.owner is None or trial.outcome is not None:
        return trial
    return replace(trial, owner=None) if is_lost(trial.owner, trial.seen_at) else trial


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


def _points(trials: Iterable[Trial], names: Sequence[str]) -> list[tuple[float, ...]]:
    return [_point(trial, names) for trial in trials]


def _point(trial: Trial, names: Sequence[str]) -> tuple[float, ...]:
    values = trial.values
    return tuple(values[name] for name in names)
