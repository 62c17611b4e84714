"""The candidates of another study in the database that a study can use, and why not the others."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluators.evaluator import Evaluator
from evaluators.scores import LOSS
from search_space.architecture import Architecture
from search_space.space.matching import MatchedLatency
from search_space.space.membership import why_outside
from studies.analysis.pareto_front import non_dominated
from studies.analysis.study_front import front_numbers, is_provisional, objective_names
from studies.records import Trial, scored_point
from studies.spec.limits import judge
from studies.spec.study_spec import StudySpec, asked_scores, from_json
from studies.storage.store import Store

# A candidate may start a search at one latency if its own differs by less than this fraction.
_NEAR_TARGET = 0.1
_OUTSIDE = "outside the space"
_PROVISIONAL = "with provisional times"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReusableCandidate:
    """A complete or stopped candidate of another study.

    Attributes:
        trial: The candidate.
        architecture: Its architecture, which lies in the space of the study that uses it.
    """

    trial: Trial
    architecture: Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class ReusableCandidates:
    """What a study can use of another one.

    Attributes:
        front: The candidates that become candidates of this study, in the order of their numbers.
        others: The other candidates that were evaluated with the same settings.
        evaluated: The number of all candidates that were evaluated with the same settings.
        unused: The number of candidates that cannot be used, by reason.
    """

    front: tuple[ReusableCandidate, ...]
    others: tuple[ReusableCandidate, ...]
    evaluated: int
    unused: Mapping[str, int]


def reusable_candidates(
    spec: StudySpec, evaluators: Sequence[Evaluator], store: Store, other: str
) -> ReusableCandidates:
    """Return what a study can use of another study in its database.

    Scores were produced with the same settings if their fingerprints are those of the evaluators.
    The front is that of this study's objectives and limits, among the candidates whose scores were
    all produced with the same settings. Candidates on the front of the other study that were
    evaluated with other settings, or whose times are provisional, belong to `front` as well: they
    are evaluated here. If the space has a latency to be matched, `front` contains only candidates
    whose measured latency differs by less than 10 % from it.

    Args:
        spec: The study that uses the candidates.
        evaluators: Its evaluators.
        store: The database.
        other: The name of the other study.

    Raises:
        ValueError: The database has no study of this name.
    """
    fingerprints = _fingerprints(spec, evaluators)
    ended = _ended(store, other)
    complete = [scored_point(trial) for trial in ended if trial.state == "complete"]
    front_there: set[int] = set()
    if not isinstance(spec.space.matched, MatchedLatency):
        there = from_json(store.study(other).spec, other)
        front_there.update(front_numbers(there, complete))
    usable: list[ReusableCandidate] = []
    front: list[ReusableCandidate] = []
    unused: Counter[str] = Counter()
    for trial in ended:
        fault = _fault(spec, fingerprints, trial)
        if fault is not None and trial.number not in front_there:
            unused[fault] += 1
            continue
        assert trial.model is not None
        architecture = store.architecture(trial.model.hash)
        if why_outside(architecture, spec.space, spec.target.quantization) is not None:
            unused[_OUTSIDE] += 1
            continue
        candidate = ReusableCandidate(trial=trial, architecture=architecture)
        (usable if fault is None else front).append(candidate)
    front_here = _front_numbers(spec, usable)
    front += [each for each in usable if each.trial.number in front_here]
    return ReusableCandidates(
        front=tuple(sorted(front, key=lambda each: each.trial.number)),
        others=tuple(each for each in usable if each.trial.number not in front_here),
        evaluated=len(usable),
        unused=unused,
    )


def _ended(store: Store, study: str) -> list[Trial]:
    """Return the complete and the stopped candidates of a study, each architecture once."""
    found: dict[str, Trial] = {}
    for trial in store.trials(study):
        if trial.state in ("complete", "stopped") and trial.duplicate_of is None:
            assert trial.model is not None
            found.setdefault(trial.model.hash, trial)
    return list(found.values())


def _fingerprints(spec: StudySpec, evaluators: Sequence[Evaluator]) -> dict[str, str]:
    """Return the fingerprint of the evaluator of each score that a study asks for."""
    asked = asked_scores(spec)
    return {
        name: each.fingerprint for each in evaluators for name in each.score_names if name in asked
    }


def _fault(spec: StudySpec, fingerprints: Mapping[str, str], trial: Trial) -> str | None:
    """Return why the scores of a candidate cannot be used; None if they can."""
    assert trial.outcome is not None
    stages = {run.fingerprint for run in trial.stages}
    known = {score.name for score in trial.scores}
    if trial.outcome.estimated_loss is not None:
        known.add(LOSS)
    differing = [
        name
        for name, fingerprint in fingerprints.items()
        if name not in known or fingerprint not in stages
    ]
    if differing:
        return f"evaluated with other settings ({', '.join(differing)})"
    if any(is_provisional(spec, score) for score in trial.scores):
        return _PROVISIONAL
    return None


def _front_numbers(spec: StudySpec, usable: Sequence[ReusableCandidate]) -> set[int]:
    """Return the numbers of the candidates on the front of a study's objectives and limits."""
    names = objective_names(spec)
    allowed = [
        each.trial
        for each in usable
        if each.trial.state == "complete"
        and not judge(spec, each.trial.scores).exceeded
        and _is_near_target(spec, each.trial)
    ]
    points = [[trial.values[name] for name in names] for trial in allowed]
    return {allowed[index].number for index in non_dominated(points)}


def _is_near_target(spec: StudySpec, trial: Trial) -> bool:
    """Return whether a candidate has about the latency that the space requires, if it does."""
    matched = spec.space.matched
    if not isinstance(matched, MatchedLatency):
        return True
    found = [score.value for score in trial.scores if score.name == matched.score]
    return any(abs(value / matched.latency - 1) < _NEAR_TARGET for value in found)
