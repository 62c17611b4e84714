"""The Pareto front of a study, and the best of its candidates within limits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evaluators.evaluator import Score
from evaluators.scores import device_of, is_measured, is_timed, score_names
from hardware.measurement import Interval
from search_space.input_errors import one_of
from studies.analysis import pareto_front
from studies.records import ScoredPoint, Trial, scored_point
from studies.spec.study_spec import StudySpec, asked_scores, from_json
from studies.storage.store import Store


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


def front(store: Store, study: str, scores: Iterable[str] = (), device: str | None = None) -> Front:
    """Return the current Pareto front of a study.

    Args:
        store: The database.
        study: The name of the study.
        scores: Scores that the dominated points need in addition to the objectives.
        device: The device for which the front is computed, without the objectives that are measured
            on others; None for all objectives.

    Raises:
        ValueError: The database has no study of this name, or the study has no objective on the
            device.
    """
    spec = from_json(store.study(study).spec, study)
    if device is not None:
        spec = _for_device(spec, device)
    names = objective_names(spec)
    complete = unique_points(store.points(study, ["complete"], {*names, *scores}))
    return front_of(
        spec,
        complete,
        store.trials(study, numbers=front_numbers(spec, complete)),
        infeasible=store.points(study, ["infeasible"], names),
        references=store.trials(study, "reference"),
    )


def devices_with_fronts(spec: StudySpec) -> list[str]:
    """Return the devices of a study for which a front of their own can be computed."""
    return [name for name in spec.target.devices if _has_front(spec, name)]


def _has_front(spec: StudySpec, device: str) -> bool:
    names = [name for name in objective_names(spec) if _is_kept(name, device)]
    return len(names) >= 2 and any(device_of(name) == device for name in names)


def _is_kept(name: str, device: str) -> bool:
    return device_of(name) == device or not is_measured(name)


def _for_device(spec: StudySpec, device: str) -> StudySpec:
    """Return the study without the objectives and limits that are measured on other devices."""
    if device not in spec.target.devices:
        known = one_of(spec.target.devices) if spec.target.devices else "named by this study"
        raise ValueError(f"device: '{device}' is not {known}")
    if not _has_front(spec, device):
        raise ValueError(
            f"device: '{spec.name}' has too few objectives for a front of '{device}'; it has "
            f"{', '.join(objective_names(spec))}"
        )
    kept = tuple(each for each in spec.objectives if _is_kept(each.name, device))
    constraints = tuple(each for each in spec.constraints if _is_kept(each.name, device))
    return spec.model_copy(update={"objectives": kept, "constraints": constraints})


def front_of(
    spec: StudySpec,
    complete: Sequence[ScoredPoint],
    members: Iterable[Trial],
    *,
    infeasible: Sequence[ScoredPoint],
    references: Iterable[Trial],
) -> Front:
    """Return the front of candidates that have been read.

    Args:
        spec: The settings of the study.
        complete: The complete candidates, sorted by number, with each architecture once.
        members: Those that `front_numbers` returns.
        infeasible: The candidates that exceed a limit, sorted by number.
        references: The reference models.
    """
    names = objective_names(spec)
    members = sorted(members, key=lambda trial: objective_values(trial, names))
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


def front_numbers(spec: StudySpec, complete: Sequence[ScoredPoint]) -> list[int]:
    """Return the numbers of the candidates on the front, in the order in which they are given.

    Args:
        spec: The settings of the study.
        complete: The complete candidates, with each architecture once.
    """
    names = objective_names(spec)
    on_front = pareto_front.non_dominated(
        _points(complete, names), [bool(point.provisional & set(names)) for point in complete]
    )
    return [complete[index].number for index in on_front]


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
    names = objective_names(spec)
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

    A candidate whose score or limited score is provisional is returned only if no other candidate
    is within the limits; see `left_out`.

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
    target = front.spec.target
    known = known or set(score_names(target.more_depths, target.devices))
    for field, name in [("score", score), *(("max", name) for name in limits)]:
        if name not in known:
            raise ValueError(f"{field}: '{name}' is not {one_of(sorted(known))}")
    within = _within(front, limits)
    settled = [point for point in within if not point.provisional & {score, *limits}]
    found = min(settled or within, key=lambda each: (each.values[score], each.number), default=None)
    return None if found is None else store.trials(front.study, numbers=[found.number])[0]


def left_out(
    front: Front, chosen: Trial, score: str, limits: Mapping[str, float]
) -> tuple[ScoredPoint, ...]:
    """Return the candidates that `best` would prefer if their provisional scores were settled.

    Args:
        front: The front.
        chosen: The result of `best`.
        score: The score that was minimised.
        limits: Upper limits of scores, by name.

    Returns:
        The candidates within the limits whose score is lower, the lowest first.
    """
    names = {score, *limits}
    if chosen.provisional(names):
        return ()
    better = [
        point
        for point in _within(front, limits)
        if point.provisional & names and point.values[score] < chosen.values[score]
    ]
    return tuple(sorted(better, key=lambda point: (point.values[score], point.number)))


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


def unique_points(points: Iterable[ScoredPoint]) -> list[ScoredPoint]:
    """Keep each architecture once; two processes may have evaluated it at the same time."""
    found: dict[str, ScoredPoint] = {}
    for point in points:
        found.setdefault(point.architecture, point)
    return list(found.values())


def objective_names(spec: StudySpec) -> list[str]:
    """Return the names of the objectives, in their order."""
    return [objective.name for objective in spec.objectives]


def objective_values(trial: Trial | ScoredPoint, names: Sequence[str]) -> tuple[float, ...]:
    """Return the values of these scores, which the trial must have."""
    values = trial.values
    return tuple(values[name] for name in names)


def _within(front: Front, limits: Mapping[str, float]) -> list[ScoredPoint]:
    """Return the complete candidates whose values are within every limit."""
    return [
        point
        for point in (*map(scored_point, front.members), *front.dominated)
        if all(point.values[name] <= limit for name, limit in limits.items())
    ]


def _axes(spec: StudySpec, trials: Iterable[Trial]) -> tuple[Axis, ...]:
    units = {score.name: score.unit for trial in trials for score in trial.scores}
    return tuple(
        Axis(name=objective.name, unit=units.get(objective.name, ""), max=objective.max)
        for objective in spec.objectives
    )


def _points(trials: Iterable[Trial | ScoredPoint], names: Sequence[str]) -> list[tuple[float, ...]]:
    return [objective_values(trial, names) for trial in trials]
