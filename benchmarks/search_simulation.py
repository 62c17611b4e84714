"""Simulate one search: a sampler proposes, and simulated scores take the place of measurements.

The sampler is told what `studies.search.proposals.Proposals` would tell it. It learns costs only
from the candidates that it proposed.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import BaseSampler
from optuna.trial import TrialState
from scipy.stats import norm
from search_truth import CLOSED_FORM, Truth, closed_form

from evaluators.scores import LOSS
from evaluators.speed.cost_estimate import FEWEST_MEASUREMENTS, CostEstimate
from evaluators.speed.workload_parts import Deployment, Parts, parts_of
from search_space.architecture import Architecture, architecture_hash
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.space_definition import check_sizes
from studies.samplers.search_problem import SearchProblem
from studies.search.architecture_problem import architecture_problem
from studies.search.samplers import make_sampler
from studies.spec.limits import excesses, judge, limits
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import SamplerSettings

_MOST_REJECTIONS = 500
# A candidate that is compared with an exact limit keeps it or not, within this fraction.
_LEAST_DEVIATION = 1e-9

_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    """What one sampler found with one seed.

    Attributes:
        sampler: The kind of sampler.
        seed: The seed of the sampler and of the noise. Runs with the same seed have the same noise
            for the same architecture.
        values: The noiseless objectives of every trial, (T, M). They are infinite for candidates
            that were refused, and for those that are above a limit in truth.
        seconds: The time that each proposal took, including rejected draws.
        rejected: The number of draws that a rule of the space rejected. They do not count as trials.
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


@dataclass(slots=True)
class LearnedCosts:
    """Predictions of costs from the candidates that a simulated study measured.

    Attributes:
        deployment: How the models are deployed.
    """

    deployment: Deployment
    _measured: list[tuple[Architecture, dict[str, float]]] = field(default_factory=list)
    _parts: dict[tuple[str, Architecture], Parts] = field(default_factory=dict)
    _estimates: dict[str, tuple[int, CostEstimate]] = field(default_factory=dict)

    def add(self, architecture: Architecture, costs: dict[str, float]) -> None:
        """Add the measured costs of a candidate, by name."""
        self._measured.append((architecture, costs))

    def predict(
        self, name: str, architectures: Sequence[Architecture]
    ) -> tuple[_Numbers, _Numbers]:
        """Return the means and the standard deviations of a cost, (N,) each.

        Args:
            name: The name of a cost; those in CLOSED_FORM are exact.
            architectures: The architectures.
        """
        if name in CLOSED_FORM:
            quantization = self.deployment.quantization
            exact = np.array([closed_form(name, each, quantization) for each in architectures])
            return exact, np.zeros(len(exact))
        count = len(self._measured)
        if count < FEWEST_MEASUREMENTS:
            mean = float(np.mean([costs[name] for _, costs in self._measured] or [1.0]))
            return np.full(len(architectures), mean), np.full(len(architectures), mean)
        if self._estimates.get(name, (0, None))[0] != count:
            known = [self._parts_of(name, each) for each, _ in self._measured]
            values = [costs[name] for _, costs in self._measured]
            self._estimates[name] = count, CostEstimate(known, values)
        _, estimate = self._estimates[name]
        return estimate.predict([self._parts_of(name, each) for each in architectures])

    def _parts_of(self, name: str, architecture: Architecture) -> Parts:
        key = name, architecture
        if key not in self._parts:
            self._parts[key] = parts_of(name, architecture, self.deployment)
        return self._parts[key]


def deployment_of(spec: StudySpec) -> Deployment:
    """Return how the models of a study are deployed."""
    return Deployment(
        quantization=spec.target.quantization,
        prompt_length=spec.target.prompt_length,
        context_depth=spec.target.context_depth,
    )


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
    scores = truth.true_scores(architectures)
    values = np.column_stack([scores[objective.name] for objective in spec.objectives])
    for name, most in limits(spec).items():
        values[scores[name] > most] = math.inf
    return values


def simulate(spec: StudySpec, truth: Truth, kind: str, seed: int, trials: int) -> SimulatedRun:
    """Run one search.

    Args:
        spec: The study, one of whose objectives is the loss.
        truth: The true scores.
        kind: The kind of sampler.
        seed: The seed of the sampler and of the noise.
        trials: The number of trials.

    Raises:
        ValueError: There is no such sampler, or the rules of the space rejected 500 consecutive
            draws.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    costs = LearnedCosts(deployment_of(spec))
    study = optuna.create_study(
        sampler=_sampler(spec, kind, seed, study_problem(spec, costs)),
        directions=["minimize"] * len(spec.objectives),
    )
    values, seconds = [], []
    seen: set[Architecture] = set()
    rejected = duplicates = infeasible = 0
    for _ in range(trials):
        start = time.perf_counter()
        asked, architecture, rejections = _propose(spec, study)
        seconds.append(time.perf_counter() - start)
        rejected += rejections
        duplicates += architecture in seen
        is_complete = _evaluate(spec, truth, study, asked, architecture, seed, costs)
        seen.add(architecture)
        infeasible += not is_complete
        (objectives,) = true_objectives(spec, truth, [architecture])
        values.append(objectives if is_complete else np.full(len(objectives), math.inf))
    return SimulatedRun(
        sampler=kind,
        seed=seed,
        values=np.array(values),
        seconds=tuple(seconds),
        rejected=rejected,
        duplicates=duplicates,
        infeasible=infeasible,
    )


def study_problem(spec: StudySpec, costs: LearnedCosts) -> SearchProblem:
    """Return the search problem of a study with costs that are learned while it runs."""

    def predictor(
        name: str,
    ) -> Callable[[Sequence[Architecture]], tuple[_Numbers, _Numbers]]:
        return lambda architectures: costs.predict(name, architectures)

    limited = {name: most for name, most in limits(spec).items() if name != LOSS}

    def feasibility(architectures: Sequence[Architecture]) -> _Numbers:
        probability = np.ones(len(architectures))
        for name, most in limited.items():
            means, deviations = costs.predict(name, architectures)
            least = _LEAST_DEVIATION * most
            probability *= norm.cdf((most - means) / np.maximum(deviations, least))
        return probability

    return architecture_problem(
        spec.space,
        spec.target.quantization,
        {
            index: predictor(objective.name)
            for index, objective in enumerate(spec.objectives)
            if objective.name != LOSS
        },
        feasibility,
    )


def _sampler(spec: StudySpec, kind: str, seed: int, problem: SearchProblem) -> BaseSampler:
    settings = SamplerSettings.model_validate(
        {"kind": kind, "startup_trials": spec.sampler.startup_trials}
    )
    return make_sampler(settings, seed, problem)


def _propose(spec: StudySpec, study: optuna.Study) -> tuple[optuna.Trial, Architecture, int]:
    """Return the next trial, its architecture, and the number of draws rejected before it."""
    for rejections in range(_MOST_REJECTIONS):
        asked = study.ask()
        architecture = draw(spec.space, asked)
        if _worst_excess(spec, architecture) <= 0:
            return asked, architecture, rejections
        for name, excess in _rule_excesses(spec, architecture).items():
            asked.set_constraint(name, excess)
        study.tell(asked, state=TrialState.PRUNED)
    raise ValueError(f"space.rules: {_MOST_REJECTIONS} consecutive draws violated the rules")


def _evaluate(
    spec: StudySpec,
    truth: Truth,
    study: optuna.Study,
    asked: optuna.Trial,
    architecture: Architecture,
    seed: int,
    costs: LearnedCosts,
) -> bool:
    """Score a candidate, tell the sampler, and return whether no score is above its limit."""
    true_scores = {name: float(value[0]) for name, value in truth.true_scores([architecture]).items()}
    generator = np.random.default_rng([seed, int(architecture_hash(architecture), 16)])
    scores = truth.measure(true_scores, generator)
    measured = {score.name: score.value for score in scores}
    known = {name: value for name, value in measured.items() if name != LOSS}
    costs.add(architecture, known)
    # Candidates above a limit are not trained, so their losses stay unknown.
    is_trained = not judge(spec, [each for each in scores if each.name != LOSS]).exceeded
    is_complete = is_trained and not judge(spec, scores).exceeded
    found = excesses(spec, measured if is_trained else known)
    for name, excess in _rule_excesses(spec, architecture).items():
        asked.set_constraint(name, excess)
    for name, excess in found.items():
        asked.set_constraint(f"{name}.max", excess)
    if is_complete:
        study.tell(asked, [measured[objective.name] for objective in spec.objectives])
    else:
        study.tell(asked, state=TrialState.PRUNED)
    return is_complete


def _rule_excesses(spec: StudySpec, architecture: Architecture) -> dict[str, float]:
    checks = check_sizes(architecture, spec.space, spec.target.quantization)
    return {check.rule: check.excess for check in checks}


def _worst_excess(spec: StudySpec, architecture: Architecture) -> float:
    return max(_rule_excesses(spec, architecture).values(), default=0.0)
