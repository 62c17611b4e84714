"""What a study says in sentences, each computed from its figures, and what it leaves unproven."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.scores import is_timed
from evaluators.speed.runners import RUNNERS
from nas.findings.wording import amount, counted, duration, joined, number, percent, quoted
from studies.analysis.choice_importance import FEWEST_TRIALS
from studies.analysis.followed_study import FollowedStudy
from studies.analysis.summaries import Axis, StudySummary, is_unsettled
from studies.confirmation.confirmation_results import Confirmation
from studies.records import Trial, TrialState
from studies.spec.reference_models import paired_reference
from studies.spec.study_spec import StudySpec

_NAMED = 3
_DISTURBED = 0.05
_LATE = 0.1  # the last tenth of the candidates
_WASTED: tuple[TrialState, ...] = ("stopped", "infeasible", "failed")


def findings(followed: FollowedStudy, now: StudySummary) -> Iterator[str]:
    """As far as the study goes."""
    front, counts = now.front, now.counts
    if not counts.ended:
        yield "No candidate has ended yet."
        return
    ended = counted(counts.ended, "candidate has", "candidates have")
    yield (
        f"{ended} ended: {counts.complete:,} complete, {counts.infeasible:,} infeasible, "
        f"{counts.stopped:,} stopped early, {counts.failed:,} failed; "
        f"{len(front.members):,} {'is' if len(front.members) == 1 else 'are'} on the front."
    )
    if front.members:
        yield from _extremes(now)
        yield from _beside_references(now)
        yield from _told_apart(followed.spec, now)
        yield from _progress(now)
    yield from _times(followed)
    yield from _disturbances(followed)
    yield from _drifts(followed)


def unproven(
    followed: FollowedStudy, now: StudySummary, confirmation: Confirmation | None = None
) -> Iterator[str]:
    """What a reader may take for shown and is not."""
    spec, front = followed.spec, now.front
    if len(now.complete) < FEWEST_TRIALS:
        yield (
            f"Few candidates: {len(now.complete):,} complete of {spec.trials:,} wanted; the front "
            "may look different with more."
        )
    if any(axis.name == "loss" for axis in front.axes):
        yield from _about_loss(spec, now, confirmation)
    unsettled = [
        trial.title
        for trial in (*front.members, *front.references)
        if any(is_unsettled(spec, score) for score in trial.scores)
    ]
    if unsettled:
        more = "" if len(unsettled) <= _NAMED else f" and {len(unsettled) - _NAMED:,} more"
        yield (
            f"Known less well than the ±{spec.device.precision:.0%} that the study asks for: times "
            f"of {', '.join(unsettled[:_NAMED])}{more}."
        )
    if any(is_timed(axis.name) for axis in front.axes):
        yield (
            "Intervals of times are those of the ratio to "
            f"{paired_reference(spec)}, times what that takes; its own figure may be off, alike "
            "for all."
        )
    machines = {
        (each.environment.host, each.environment.cpu) for each in followed.evidence.values()
    }
    if len(machines) > 1:
        yield f"Timed on {len(machines)} machines: times of different ones do not compare."
    if RUNNERS[spec.device.runner].is_simulated:
        yield "No device was timed: the runner makes its figures up."


def _about_loss(
    spec: StudySpec, now: StudySummary, confirmation: Confirmation | None
) -> Iterator[str]:
    proxy = spec.proxy
    if all(score.low is None for t in now.complete for score in t.scores if score.name == "loss"):
        yield (
            "Every loss comes from one training with one seed, and has no interval: differences "
            f"of {proxy.rung_margin:g} bits/byte, the margin that the study itself stops by, are "
            "read as ties."
        )
    origin = (
        f"that of a copy of {proxy.width_share:g} of the width after {proxy.token_budget:,} tokens"
        if proxy.method == "scratch"
        else f"inherited from one network of {proxy.width_share:g} of the width, which all "
        f"candidates share, after {proxy.shared_token_budget:,} tokens"
    )
    yield (
        f"The loss is {origin}: that models of full size, trained for long, come in the same "
        "order is not shown."
    )
    trained = [] if confirmation is None else [each.trial.id for each in confirmation.long_trained]
    left = sum(trial.id not in trained for trial in now.front.members)
    if left and not trained:
        yield "Nothing on the front has been trained for longer to confirm it."
    elif left:
        missing = counted(left, "point of the front has", "points of the front have")
        yield f"{missing} not been trained for longer."
    if now.counts.stopped:
        stopped = counted(now.counts.stopped, "candidate was", "candidates were")
        yield f"{stopped} stopped early, and might have come out better than what was expected."


def _extremes(now: StudySummary) -> Iterator[str]:
    """The best in each objective, and the knee."""
    front, knee = now.front, now.front.knee
    assert knee is not None
    lowest: dict[int, list[str]] = defaultdict(list)
    for axis in front.axes:
        best = min(front.members, key=lambda trial: trial.values[axis.name])
        lowest[best.number].append(axis.name)
    for trial in front.members:
        if trial.number in lowest:
            names = joined(lowest[trial.number])
            yield f"Lowest {names}: {_named(trial)}, {_all_quoted(trial, front.axes)}."
    if knee.number in lowest:
        yield f"The knee of the front is {knee.title} too."
    else:
        yield f"The knee of the front: {_named(knee)}, {_all_quoted(knee, front.axes)}."


def _beside_references(now: StudySummary) -> Iterator[str]:
    """The best within the speed, memory and so on of each published model."""
    front = now.front
    first, *others = front.axes
    for reference in front.references:
        within = [
            trial
            for trial in front.members
            if all(trial.values[axis.name] <= reference.values[axis.name] for axis in others)
        ]
        limits = joined([f"{each.name}" for each in others])
        if not within:
            yield f"No candidate reaches {reference.title} in {limits}."
            continue
        best = min(within, key=lambda trial: trial.values[first.name])
        gap = best.values[first.name] - reference.values[first.name]
        yield (
            f"Within {reference.title}'s {limits} ({_limits(reference, others)}): "
            f"{_named(best)} with {quoted(best, first)}, {_compared(gap, best, reference, now)} "
            f"its {amount(reference.values[first.name], first)}."
        )


def _compared(gap: float, best: Trial, reference: Trial, now: StudySummary) -> str:
    first = now.front.axes[0]
    if not _apart(now.front.spec, best, reference, first):
        return "a tie with"
    return "below" if gap < 0 else "above"


def _told_apart(spec: StudySpec, now: StudySummary) -> Iterator[str]:
    """Which neighbours on the front differ by no more than the noise, in every objective."""
    front = now.front
    if len(front.members) < 2:
        return
    pairs = list(itertools.pairwise(front.members))
    apart = [
        f"{axis.name} {sum(_apart(spec, *pair, axis) for pair in pairs):,}" for axis in front.axes
    ]
    said = f"Of {counted(len(pairs), 'pair', 'pairs')} of neighbours on the front"
    yield f"{said}, these differ beyond the noise: by {joined(apart)}."
    ties = [pair for pair in pairs if not any(_apart(spec, *pair, axis) for axis in front.axes)]
    if ties:
        named = "; ".join(f"{one.title} and {other.title}" for one, other in ties[:_NAMED])
        more = "" if len(ties) <= _NAMED else f"; and {len(ties) - _NAMED:,} more"
        yield f"Ties in every objective: {named}{more}."


def _progress(now: StudySummary) -> Iterator[str]:
    if not now.advances:
        return
    last, ended = now.advances[-1], now.counts.ended
    early = [each for each in now.advances if each.ended <= (1 - _LATE) * ended]
    said = f"The front last grew with {last.trial.title}, the {_ordinal(last.ended)} to end"
    if ended >= FEWEST_TRIALS and early and last.hypervolume > 0:
        gain = 1 - early[-1].hypervolume / last.hypervolume
        said += f"; the last tenth of the candidates made up {percent(gain)} of its hypervolume"
    yield f"{said}."


def _times(followed: FollowedStudy) -> Iterator[str]:
    stages: dict[str, float] = defaultdict(float)
    states: dict[str, float] = defaultdict(float)
    for trial in followed.trials.values():
        for run in trial.stages:
            stages[run.stage] += run.seconds
            states[trial.state] += run.seconds
    total = sum(stages.values())
    if total < 1:
        return
    spent = [f"{stage} {percent(seconds / total)}" for stage, seconds in stages.items()]
    lost = [f"{percent(states[state] / total)} {state}" for state in _WASTED if states[state]]
    went = f"; of it went to candidates that ended otherwise than complete: {joined(lost)}"
    yield f"Evaluations took {duration(total)}: {joined(spent)}{went if lost else ''}."


def _disturbances(followed: FollowedStudy) -> Iterator[str]:
    timed = [
        followed.evidence[trial.id]
        for trial in followed.trials.values()
        if trial.id in followed.evidence and trial.duplicate_of is None
    ]
    known = [each for each in timed if each.disturbed is not None]
    if not known:
        return
    disturbed = sum((each.disturbed or 0.0) > _DISTURBED for each in known)
    waits = [each.waited_s for each in known if each.waited_s]
    said = (
        f"{disturbed:,} of {counted(len(known), 'timing', 'timings')} lost more than "
        f"{percent(_DISTURBED)} of their cores to other processes or the hypervisor"
    )
    if waits:
        said += f"; {len(waits):,} waited for a quiet machine, {duration(sum(waits))} in all"
    yield f"{said}."


def _drifts(followed: FollowedStudy) -> Iterator[str]:
    workloads: dict[str, list[float]] = defaultdict(list)
    for time in followed.reference_times:
        workloads[time.workload].append(time.median_ms)
    for workload, medians in workloads.items():
        if len(medians) < FEWEST_TRIALS:
            continue
        low, middle, high = np.quantile(medians, (0.05, 0.5, 0.95))
        yield (
            f"The reference, {paired_reference(followed.spec)}, timed beside the candidates, took "
            f"{number(middle)} ms at {workload}, 90 of 100 times between {number(low)} and "
            f"{number(high)}: the machine drifted by {percent((high - low) / middle)}, which the "
            "pairing takes out."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    low: float
    high: float


def _apart(spec: StudySpec, one: Trial, other: Trial, axis: Axis) -> bool:
    """Whether two trials differ in an objective beyond the noise."""
    first, second = _bounds(spec, one, axis), _bounds(spec, other, axis)
    return first.high < second.low or second.high < first.low


def _bounds(spec: StudySpec, trial: Trial, axis: Axis) -> _Bounds:
    """A loss without an interval is known to the margin at which the study tells two apart."""
    score = next(score for score in trial.scores if score.name == axis.name)
    if score.low is not None and score.high is not None:
        return _Bounds(low=score.low, high=score.high)
    half = spec.proxy.rung_margin / 2 if axis.name in ("loss", "task") else 0.0
    return _Bounds(low=score.value - half, high=score.value + half)


def _named(trial: Trial) -> str:
    assert trial.model is not None
    millions = trial.model.parameters / 1e6
    return f"{trial.title} ({trial.model.layout}, {millions:,.1f} million parameters)"


def _all_quoted(trial: Trial, axes: Sequence[Axis]) -> str:
    return joined([quoted(trial, axis) for axis in axes])


def _limits(reference: Trial, axes: Sequence[Axis]) -> str:
    return joined([amount(reference.values[axis.name], axis) for axis in axes])


def _ordinal(count: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"}
    ending = "th" if count % 100 in (11, 12, 13) else endings.get(count % 10, "th")
    return f"{count:,}{ending}"
