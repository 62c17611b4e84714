"""Simulate one search: a sampler proposes, and simulated scores take the place of measurements.

The sampler is told what `studies.search.proposals.Proposals` would tell it. It knows no costs but
those of the candidates that it proposed.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState
from search_truth import Truth
from search_variants import sampler_named

from evaluators.evaluator import Score
from evaluators.scores import LOSS
from search_space.architecture import Architecture, architecture_hash
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.matching import Cost
from search_space.space.space_definition import check_sizes
from studies.search.architecture_problem import study_problem
from studies.search.latency_matching import LatencyMatching, record_feed_forward
from studies.spec.limits import excesses, judge, limits
from studies.spec.study_spec import StudySpec

_MOST_REJECTIONS = 500

_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    """What one sampler found with one seed.

    Attributes:
        sampler: The name of the sampler.
        seed: The seed of the sampler and of the noise. Runs with the same seed have the same noise
            for the same architecture.
        values: The noiseless objectives of every trial, (T, M). They are infinite for candidates
            that were refused, and for those that are above a limit in truth.
        seconds: The time that each proposal took, including rejected draws.
        rejected: The number of draws that a rule of the space rejected. They are not trials.
        duplicates: The number of trials whose architecture an earlier trial had.
        infeasible: The number of trials whose measured scores were above a limit.
    """

    sampler: str
    seed: int
    values: _Numbers
    seconds: tuple[float, ...]
    rejected: int
    duplicates: int
    infeasible: int


def legal_architectures(spec: StudySpec, count: int) -> list[Architecture]:
    """Return random architectures that keep the rules of a space, always the same ones.

    Raises:
        ValueError: The rules rejected 500 consecutive draws.
    """
    suggester = RandomSuggester(np.random.default_rng(0))
    found: list[Architecture] = []
    rejected = 0
    while len(found) < count:
        architecture = draw(spec.space, suggester)
        if _worst_excess(spec, architecture) <= 0:
            found.append(architecture)
            rejected = 0
        else:
            rejected += 1
            if rejected == _MOST_REJECTIONS:
                raise ValueError(f"space.rules: {rejected} consecutive draws violated the rules")
    return found


def true_objectives(
    spec: StudySpec, truth: Truth, architectures: Sequence[Architecture]
) -> _Numbers:
    """Return the noiseless objectives, (N, M); infinite for architectures above a limit."""
    return _objectives(spec, truth.true_scores(architectures))


def simulate(spec: StudySpec, truth: Truth, name: str, seed: int, trials: int) -> SimulatedRun:
    """Run one search.

    Args:
        spec: The study, one of whose objectives is the loss.
        truth: The true scores.
        name: The name of the sampler; see `search_variants.NAMES`.
        seed: The seed of the sampler and of the noise.
        trials: The number of trials.

    Raises:
        ValueError: There is no such sampler, or the rules of the space rejected 500 consecutive
            draws.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    measured = _Measured()
    matching = LatencyMatching(spec, measured)
    problem = study_problem(spec, matching)
    sampler = sampler_named(name, problem, spec.sampler.startup_trials, seed)
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * len(spec.objectives))
    values, seconds = [], []
    seen: set[Architecture] = set()
    rejected = duplicates = infeasible = 0
    for _ in range(trials):
        start = time.perf_counter()
        matching.refit()
        asked, architecture, rejections = _propose(spec, study, matching)
        seconds.append(time.perf_counter() - start)
        rejected += rejections
        duplicates += architecture in seen
        true_scores = truth.true_scores([architecture])
        generator = np.random.default_rng([seed, int(architecture_hash(architecture), 16)])
        scores = truth.measure(
            {name: float(value[0]) for name, value in true_scores.items()}, generator
        )
        measured.add(architecture, scores)
        is_complete = _tell(spec, study, asked, architecture, scores)
        seen.add(architecture)
        infeasible += not is_complete
        (objectives,) = _objectives(spec, true_scores)
        values.append(objectives if is_complete else np.full(len(objectives), math.inf))
    return SimulatedRun(
        sampler=name,
        seed=seed,
        values=np.array(values),
        seconds=tuple(seconds),
        rejected=rejected,
        duplicates=duplicates,
        infeasible=infeasible,
    )


class _Measured:
    """The simulated scores so far, which predictions of a matched latency are fitted to."""

    def __init__(self) -> None:
        self._architectures: dict[str, Architecture] = {}
        self._scores: dict[str, Mapping[str, float]] = {}

    def add(self, architecture: Architecture, scores: Sequence[Score]) -> None:
        digest = architecture_hash(architecture)
        self._architectures[digest] = architecture
        self._scores[digest] = {score.name: score.value for score in scores}

    def values(self, score: str) -> Mapping[str, float]:
        return {digest: scores[score] for digest, scores in self._scores.items()}

    def architecture(self, digest: str) -> Architecture:
        return self._architectures[digest]


def _propose(
    spec: StudySpec, study: optuna.Study, matching: LatencyMatching
) -> tuple[optuna.Trial, Architecture, int]:
    """Return the next trial, its architecture, and the number of draws rejected before it."""
    for rejections in range(_MOST_REJECTIONS):
        asked = study.ask()
        architecture = draw(spec.space, asked, matching.latency)
        excesses_of_rules = _rule_excesses(spec, architecture, matching.latency)
        if max(excesses_of_rules.values(), default=0.0) <= 0:
            record_feed_forward(asked, spec.space, architecture)
            return asked, architecture, rejections
        for name, excess in excesses_of_rules.items():
            asked.set_constraint(name, excess)
        study.tell(asked, state=TrialState.PRUNED)
    raise ValueError(f"space.rules: {_MOST_REJECTIONS} consecutive draws violated the rules")


def _tell(
    spec: StudySpec,
    study: optuna.Study,
    asked: optuna.Trial,
    architecture: Architecture,
    scores: Sequence[Score],
) -> bool:
    """Tell the sampler the scores of a candidate, and return whether all limits are kept."""
    costs = [score for score in scores if score.name != LOSS]
    # Candidates above a limit are not trained, so their losses stay unknown.
    known = costs if judge(spec, costs).exceeded else scores
    is_complete = not judge(spec, known).exceeded
    measured = {score.name: score.value for score in known}
    for name, excess in _rule_excesses(spec, architecture).items():
        asked.set_constraint(name, excess)
    for name, excess in excesses(spec, measured).items():
        asked.set_constraint(f"{name}.max", excess)
    if is_complete:
        study.tell(asked, [measured[objective.name] for objective in spec.objectives])
    else:
        study.tell(asked, state=TrialState.PRUNED)
    return is_complete


def _objectives(spec: StudySpec, true_scores: Mapping[str, _Numbers]) -> _Numbers:
    values = np.column_stack([true_scores[objective.name] for objective in spec.objectives])
    for name, most in limits(spec).items():
        values[true_scores[name] > most] = math.inf
    return values


def _rule_excesses(
    spec: StudySpec, architecture: Architecture, latency: Cost | None = None
) -> dict[str, float]:
    checks = check_sizes(architecture, spec.space, spec.target.quantization, latency)
    return {check.rule: check.excess for check in checks}


def _worst_excess(spec: StudySpec, architecture: Architecture) -> float:
    return max(_rule_excesses(spec, architecture).values(), default=0.0)
