"""Findings of a study, as sentences with values and confidence intervals."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.evaluator import Score
from evaluators.scores import LOSS, is_further_loss
from nas.findings.device_findings import device_findings
from nas.findings.time_wording import provisional_among, quoted, workload_on
from nas.findings.wording import amount, counted, duration, joined, number, percent
from search_space.space.matching import MatchedLatency
from studies.analysis.choice_importance import FEWEST_TRIALS
from studies.analysis.followed_study import FollowedStudy
from studies.analysis.study_front import Axis, Front, is_provisional
from studies.analysis.summaries import StudySummary
from studies.records import Trial, TrialState
from studies.search.latency_matching import described_latency
from studies.spec.reference_models import paired_reference
from studies.spec.study_spec import StudySpec

_MOST_NAMED = 3
_DISTURBED = 0.05
_LATE = 0.1  # the last tenth of the candidates
_INCOMPLETE: dict[TrialState, str] = {
    "stopped": "candidates that were stopped early",
    "infeasible": "infeasible candidates",
    "failed": "failed candidates",
}


def study_findings(followed: FollowedStudy, now: StudySummary) -> Iterator[str]:
    """Yield what a study shows so far, as sentences.

    Args:
        followed: The study.
        now: Its summary.
    """
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
        yield from _reference_models(now)
        yield from _neighbours(followed.spec, now)
        yield from _progress(now)
    yield from device_findings(followed.spec, now.complete)
    yield from _matched_latencies(followed)
    yield from _times(followed)
    yield from _disturbances(followed)
    yield from _drifts(followed)


def _extremes(now: StudySummary) -> Iterator[str]:
    """Describe the best candidate in each objective, and the knee.

    A provisional score is the lowest only if all members are provisional.
    """
    front, knee = now.front, now.front.knee
    assert knee is not None
    lowest: dict[int, list[str]] = defaultdict(list)
    for axis in front.axes:
        settled = [trial for trial in front.members if not trial.provisional([axis.name])]
        best = min(settled or front.members, key=lambda trial: trial.values[axis.name])
        lowest[best.number].append(axis.name)
    for trial in front.members:
        if trial.number in lowest:
            names = joined(lowest[trial.number])
            yield f"Lowest {names}: {_named(trial)} with {_all_quoted(front, trial)}."
    if knee.number in lowest:
        yield f"The knee of the front is also {knee.title}."
    else:
        yield f"Knee of the front: {_named(knee)} with {_all_quoted(front, knee)}."


def _reference_models(now: StudySummary) -> Iterator[str]:
    """Compare each reference model with the best member that is as fast, as small and so on."""
    front = now.front
    first, *others = front.axes
    provisional = provisional_among(front.members, front.axes)
    settled = [trial for trial in front.members if trial not in provisional]
    for reference in front.references:
        within = [
            trial
            for trial in settled
            if all(trial.values[axis.name] <= reference.values[axis.name] for axis in others)
        ]
        objectives = joined([axis.name for axis in others])
        if not within:
            yield (
                f"No candidate on the front is at least as good as {reference.title} in "
                f"{objectives}."
            )
            continue
        best = min(within, key=lambda trial: trial.values[first.name])
        gap = best.values[first.name] - reference.values[first.name]
        yield (
            f"Lowest {first.name} among the candidates at least as good as {reference.title} in "
            f"{objectives} ({_limits(reference, others)}): {_named(best)} with "
            f"{quoted(front.spec, best, first)}, {_compared(gap, best, reference, now)} the "
            "reference model's "
            f"{amount(reference.values[first.name], first)}."
        )


def _compared(gap: float, best: Trial, reference: Trial, now: StudySummary) -> str:
    first = now.front.axes[0]
    if not _differ(now.front.spec, best, reference, first):
        return "a tie with"
    return "below" if gap < 0 else "above"


def _neighbours(spec: StudySpec, now: StudySummary) -> Iterator[str]:
    """State which neighbours on the front differ by more than the noise, and which are ties."""
    front = now.front
    if len(front.members) < 2:
        return
    pairs = list(itertools.pairwise(front.members))
    of_pairs = f"of {counted(len(pairs), 'pair', 'pairs')}"
    differing = [
        f"{sum(_differ(spec, *pair, axis) for pair in pairs):,} {of_pairs} in {axis.name}"
        for axis in front.axes
    ]
    yield f"Neighbours on the front that differ by more than the noise: {joined(differing)}."
    ties = [pair for pair in pairs if not any(_differ(spec, *pair, axis) for axis in front.axes)]
    if ties:
        named = "; ".join(f"{one.title} and {other.title}" for one, other in ties[:_MOST_NAMED])
        left = len(ties) - _MOST_NAMED
        more = f"; and {counted(left, 'more pair', 'more pairs')}" if left > 0 else ""
        yield f"Ties in every objective: {named}{more}."


def _progress(now: StudySummary) -> Iterator[str]:
    if not now.advances:
        return
    last, ended = now.advances[-1], now.counts.ended
    early = [each for each in now.advances if each.ended <= (1 - _LATE) * ended]
    text = (
        f"The front last improved with {last.trial.title}, the {_ordinal(last.ended)} candidate to "
        "end"
    )
    if ended >= FEWEST_TRIALS and early and last.hypervolume > 0:
        gain = 1 - early[-1].hypervolume / last.hypervolume
        text += f"; the last tenth of the candidates contributed {percent(gain)} of its hypervolume"
    yield f"{text}."


def _matched_latencies(followed: FollowedStudy) -> Iterator[str]:
    """State how far the measured latencies of matched candidates are from the target."""
    matched = followed.spec.space.matched
    if not isinstance(matched, MatchedLatency):
        return
    candidates = [
        trial
        for trial in followed.trials.values()
        if trial.kind == "candidate" and trial.duplicate_of is None and trial.model is not None
    ]
    ratios = [
        score.value / matched.latency
        for trial in candidates
        for score in trial.scores
        if trial.predicted_latency is not None
        and score.name == matched.score
        and not is_provisional(followed.spec, score)
    ]
    target = f"the target of {described_latency(matched)}"
    if not ratios:
        yield f"No candidate that was matched to {target} has been measured yet."
        return
    others = sum(trial.predicted_latency is None for trial in candidates)
    apart = f"; {counted(others, 'other was', 'others were')} not matched" if others else ""
    measured = counted(len(ratios), "matched candidate", "matched candidates")
    yield (
        f"The measured latency of {measured} is {number(min(ratios))} to {number(max(ratios))} "
        f"times {target} (median {number(float(np.median(ratios)))}){apart}."
    )


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
    spent = joined([f"{percent(seconds / total)} for {stage}" for stage, seconds in stages.items()])
    lost = [
        f"{percent(states[state] / total)} for {name}"
        for state, name in _INCOMPLETE.items()
        if states[state]
    ]
    waste = f". This includes {joined(lost)}" if lost else ""
    yield f"All evaluations together took {duration(total)}: {spent}{waste}."


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
    text = (
        f"{disturbed:,} of {counted(len(known), 'timing', 'timings')} lost more than "
        f"{100 * _DISTURBED:g} % of their cores' time to other processes or the hypervisor"
    )
    if waits:
        text += f"; {len(waits):,} waited for a quiet machine, {duration(sum(waits))} in total"
    yield f"{text}."


def _drifts(followed: FollowedStudy) -> Iterator[str]:
    workloads: dict[str, list[float]] = defaultdict(list)
    for time in followed.reference_times:
        devices = [] if time.device is None else [time.device]
        workloads[workload_on(time.workload, devices)].append(time.median_ms)
    for workload, medians in workloads.items():
        if len(medians) < FEWEST_TRIALS:
            continue
        low, middle, high = np.quantile(medians, (0.05, 0.5, 0.95))
        yield (
            f"The reference model {paired_reference(followed.spec)}, measured interleaved with the "
            f"candidates, took a median of {number(middle)} ms at {workload}, and between "
            f"{number(low)} and {number(high)} ms in 90 % of the measurements. The machine drifted "
            f"by {percent((high - low) / middle)}, which the interleaving cancels."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    low: float
    high: float


def _differ(spec: StudySpec, one: Trial, other: Trial, axis: Axis) -> bool:
    """Return whether two trials differ in an objective by more than the noise.

    Times are compared by their ratios to the same reference model, whose own error they share. A
    provisional time differs from none.
    """
    scores = [score for trial in (one, other) for score in trial.scores if score.name == axis.name]
    if any(score.provisional for score in scores):
        return False
    keys = {None if score.measured is None else score.measured.calibration for score in scores}
    is_ratio = len(keys) == 1
    first, second = (_bounds(spec, score, is_ratio=is_ratio) for score in scores)
    return first.high < second.low or second.high < first.low


def _bounds(spec: StudySpec, score: Score, *, is_ratio: bool) -> _Bounds:
    """Return the interval of a score; for a loss without one, use the early-stopping margin."""
    measured = score.measured
    if is_ratio and measured is not None and measured.low is not None and measured.high is not None:
        return _Bounds(low=measured.low, high=measured.high)
    if score.low is not None and score.high is not None:
        return _Bounds(low=score.low, high=score.high)
    is_loss = score.name == LOSS or is_further_loss(score.name)
    half = spec.proxy.rung_margin / 2 if is_loss else 0.0
    return _Bounds(low=score.value - half, high=score.value + half)


def _named(trial: Trial) -> str:
    assert trial.model is not None
    millions = trial.model.parameters / 1e6
    return f"{trial.title} ({trial.model.layout}, {millions:,.1f} million parameters)"


def _all_quoted(front: Front, trial: Trial) -> str:
    return joined([quoted(front.spec, trial, axis) for axis in front.axes])


def _limits(reference: Trial, axes: Sequence[Axis]) -> str:
    return joined([amount(reference.values[axis.name], axis) for axis in axes])


def _ordinal(count: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"}
    ending = "th" if count % 100 in (11, 12, 13) else endings.get(count % 10, "th")
    return f"{count:,}{ending}"
