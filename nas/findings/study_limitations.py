"""What a study does not show although a reader may assume it, as sentences."""

from collections.abc import Iterator, Sequence

from evaluators.scores import LOSS, is_timed
from evaluators.speed.runners import RUNNERS
from nas.findings.time_wording import (
    provisional_among,
    provisional_members_text,
    unsure_limits,
)
from nas.findings.wording import counted, joined, sentence
from studies.analysis.choice_importance import FEWEST_TRIALS
from studies.analysis.followed_study import FollowedStudy
from studies.analysis.study_front import is_provisional
from studies.analysis.summaries import StudySummary
from studies.confirmation.confirmation_results import Confirmation
from studies.records import Evidence
from studies.spec.limits import limits
from studies.spec.reference_models import paired_reference
from studies.spec.study_spec import StudySpec, is_measured_here

_MOST_NAMED = 3


def study_limitations(
    followed: FollowedStudy, now: StudySummary, confirmation: Confirmation | None = None
) -> Iterator[str]:
    """Yield what a study does not show although a reader may assume it, as sentences.

    Args:
        followed: The study.
        now: Its summary.
        confirmation: The results of its confirmation so far; None if it has not started.
    """
    spec, front = followed.spec, now.front
    if len(now.complete) < FEWEST_TRIALS:
        # The number that the study asks for may have been lowered since.
        asked = f" of {spec.trials:,}" if len(now.complete) < spec.trials else ""
        noun = "candidate is" if len(now.complete) == 1 and not asked else "candidates are"
        yield (
            f"Only {len(now.complete):,}{asked} {noun} complete; the front may change with more."
        )
    if any(axis.name == LOSS for axis in front.axes):
        yield from _loss_limitations(spec, now, confirmation)
    yield from _provisional_times(spec, now)
    yield from _unsure_limits(spec, now)
    if any(is_timed(axis.name) for axis in front.axes):
        yield from _interval_coverage(spec, now)
    machines = {
        (each.environment.host, each.environment.cpu) for each in followed.evidence.values()
    }
    if len(machines) > 1:
        yield (
            f"Latencies were measured on {len(machines)} machines; latencies from different "
            "machines are not comparable."
        )
    if is_measured_here(spec) and RUNNERS[spec.device.runner].is_simulated:
        yield "Latencies are simulated; no device was measured."
    elif any(_is_simulated(evidence) for evidence in followed.evidence.values()):
        yield "Latencies on some devices are simulated."


def _is_simulated(evidence: Evidence) -> bool:
    environments = (evidence.environment, *evidence.more_environments)
    return any(each.runtime_version == RUNNERS["fake"].runtime for each in environments)


def _provisional_times(spec: StudySpec, now: StudySummary) -> Iterator[str]:
    front = now.front
    doubtful = {
        trial.title: [score for score in trial.scores if is_provisional(spec, score)]
        for trial in (*front.members, *front.references)
    }
    current = [t for t, scores in doubtful.items() if any(each.measured for each in scores)]
    if current:
        yield (
            f"Some times of {_first(current)} are provisional: they are too uncertain to decide "
            "anything, and `nas run` measures them again when the machine is quieter."
        )
    # Earlier releases neither recorded that a time is provisional nor measured it again.
    earlier = [t for t, scores in doubtful.items() if any(not each.measured for each in scores)]
    if earlier:
        yield (
            f"The confidence intervals of some times of {_first(earlier)} are wider than the "
            f"requested ±{100 * spec.device.precision:g} %."
        )
    provisional = provisional_among(front.members, front.axes)
    if provisional:
        yield sentence(provisional_members_text(len(provisional), len(front.members)))


def _unsure_limits(spec: StudySpec, now: StudySummary) -> Iterator[str]:
    unsure = [unsure_limits(spec, trial) for trial in now.complete]
    for name in limits(spec):
        count = sum(name in names for names in unsure)
        if count:
            candidates = counted(count, "complete candidate", "complete candidates")
            kept = "It was kept" if count == 1 else "They were kept"
            yield f"{candidates} may exceed the limit of {name}. {kept}, as that is not certain."


def _interval_coverage(spec: StudySpec, now: StudySummary) -> Iterator[str]:
    reference = paired_reference(spec)
    times = [score for trial in now.complete for score in trial.scores if is_timed(score.name)]
    if not times or any(score.measured is not None for score in times):
        yield (
            f"A time is the measured ratio to the reference model {reference}, multiplied by the "
            "time of that model according to all its timings. Confidence intervals of times cover "
            "the errors of both and the scatter between repeats; an error in the time of the "
            "reference model scales all times alike and does not affect their order."
        )
    if any(score.measured is None for score in times):
        yield (
            "Confidence intervals of times from earlier releases are those of the measured ratio "
            f"to {reference} only; an error in the time of that model would scale all times alike."
        )


def _loss_limitations(
    spec: StudySpec, now: StudySummary, confirmation: Confirmation | None
) -> Iterator[str]:
    proxy = spec.proxy
    if all(score.low is None for t in now.complete for score in t.scores if score.name == LOSS):
        yield (
            "Every loss comes from one training run with one seed and has no confidence interval. "
            f"Differences of up to {proxy.rung_margin:g} bits/byte, the margin that the study uses "
            "for early stopping, are treated as ties."
        )
    origin = (
        f"The loss is that of a proxy with {proxy.width_share:g} times the full width, trained on "
        f"{proxy.token_budget:,} tokens"
        if proxy.method == "scratch"
        else "The loss is that of weights inherited from one shared network with "
        f"{proxy.width_share:g} times the full width, trained on {proxy.shared_token_budget:,} "
        "tokens"
    )
    yield (
        f"{origin}. The study does not show whether full-size models rank in the same order after "
        "longer training."
    )
    trained = [] if confirmation is None else [each.trial.id for each in confirmation.long_trained]
    left = sum(trial.id not in trained for trial in now.front.members)
    if left and not trained:
        yield "No member of the front has been confirmed by longer training."
    elif left:
        missing = counted(left, "member of the front has", "members of the front have")
        yield f"{missing} not been confirmed by longer training."
    if now.counts.stopped:
        stopped = counted(now.counts.stopped, "candidate was", "candidates were")
        yield f"{stopped} stopped early and might have scored better than predicted."


def _first(titles: Sequence[str]) -> str:
    """List the first titles, and the number of others."""
    left = len(titles) - _MOST_NAMED
    return joined([*titles[:_MOST_NAMED], *([f"{left:,} more"] if left > 0 else [])])
