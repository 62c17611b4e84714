"""The search problem of a study: the architectures of its space, and what is known about them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial, FrozenTrial

from evaluators.scores import PARAMETERS, is_predictable, is_size
from evaluators.speed.cost_estimate import FEWEST_MEASUREMENTS, CostEstimate
from evaluators.speed.workload_parts import Parts, parts_of
from search_space.architecture import Architecture
from search_space.costs import parameter_counts, weight_bytes
from search_space.space.encoding import (
    FixedSuggester,
    RandomSuggester,
    draw,
    encode,
    is_layer_parameter,
)
from search_space.space.layout_features import layout_features
from search_space.space.rules import RuleCheck, all_kept
from search_space.space.space_definition import check_sizes
from studies.samplers.search_problem import (
    Identity,
    Parameters,
    SearchProblem,
    changed,
    identity,
    values_of,
)
from studies.search.latency_matching import (
    FEED_FORWARD_BLOCKS,
    LatencyMatching,
    recorded_architecture,
)
from studies.spec.limits import limits
from studies.spec.study_spec import StudySpec

_Numbers = NDArray[np.float64]

# The root mean square error, in bits per byte, of the estimated loss of candidates that were
# stopped at half of the budget; from benchmarks/data/losses_quickstart.jsonl.
_STOPPED_DEVIATION = 0.06
_MOST_DRAWS = 500
_MOST_MUTATIONS = 5

PRELIMINARY_SCORES = "nas_preliminary"
"""The attribute of an Optuna trial with the scores, by name, of a candidate that has ended but
whose times are to be measured again."""


def study_problem(spec: StudySpec, matching: LatencyMatching | None = None) -> SearchProblem:
    """Return the search problem of a study.

    Its costs are the objectives that can be estimated; cost-aware samplers require all but one.

    Args:
        spec: The study.
        matching: Predicts the latency that candidates are matched to, if the space has one. A point
            stands for the architecture that the present prediction leads to, and the parameters of
            a trial for the one that was built. None if nothing is predicted.
    """
    return _StudyProblem(spec, matching or LatencyMatching(spec)).problem()


class _StudyProblem:
    """Architectures by their parameters; each is built once per prediction."""

    def __init__(self, spec: StudySpec, matching: LatencyMatching) -> None:
        self._spec = spec
        self._matching = matching
        self._version = matching.version
        self._space = spec.space
        self._deployment = spec.target.deployment
        self._distributions = _distributions(spec)
        self._values = values_of(self._distributions)
        self._architectures: dict[Identity, Architecture] = {}
        self._points: dict[Architecture, Parameters | None] = {}
        self._recorded_points: dict[Identity, Parameters | None] = {}
        self._features: dict[Identity, tuple[float, ...]] = {}
        self._parts: dict[tuple[str, Identity], Parts] = {}
        # The latest fit of each score, with the points and the values that it was fitted to.
        self._fits: dict[str, tuple[list[tuple[Identity, float]], CostEstimate]] = {}

    def problem(self) -> SearchProblem:
        names = [objective.name for objective in self._spec.objectives]
        return SearchProblem(
            space=self._distributions,
            costs={
                index: _ObjectiveCost(self, name, index)
                for index, name in enumerate(names)
                if is_predictable(name)
            },
            features=self.features,
            legal=self.legal,
            draw=self.draw,
            mutate=self.mutate,
            feasibility=self.feasibility,
            noise=_known_deviation,
            preliminary=self.preliminary,
            recorded=(FEED_FORWARD_BLOCKS,),
        )

    def architecture(self, point: Parameters) -> Architecture:
        self._discard_outdated()
        key = identity(point)
        if key not in self._architectures:
            self._architectures[key] = (
                recorded_architecture(self._space, point)
                if _is_recorded(key)
                else draw(self._space, FixedSuggester(point), self._matching.latency)
            )
        return self._architectures[key]

    def legal(self, point: Parameters) -> Parameters | None:
        key = identity(point)
        if not _is_recorded(key):
            return self._point_of(self.architecture(point))
        if key not in self._recorded_points:
            # The candidate was matched by an earlier prediction, if any, so its latency is not
            # checked again.
            architecture = self.architecture(point)
            is_legal = all_kept(
                check_sizes(architecture, self._space, self._deployment.quantization)
            )
            self._recorded_points[key] = encode(self._space, architecture) if is_legal else None
        return self._recorded_points[key]

    def draw(self, generator: np.random.Generator) -> Parameters:
        self._discard_outdated()
        suggester = RandomSuggester(generator)
        for _ in range(_MOST_DRAWS):
            architecture = draw(self._space, suggester, self._matching.latency)
            point = self._point_of(architecture)
            if point is not None:
                return point
        broken = [str(check) for check in self._checks(architecture) if check.excess > 0]
        raise ValueError(
            f"space: {_MOST_DRAWS} consecutive random draws violated the rules about sizes; the "
            f"last one violated: {'; '.join(broken)}"
        )

    def mutate(self, point: Parameters, generator: np.random.Generator) -> Parameters | None:
        for _ in range(_MOST_MUTATIONS):
            moved = self.legal(self._moved(point, generator))
            if moved is not None and moved != point:
                return moved
        return None

    def features(self, point: Parameters) -> tuple[float, ...]:
        self._discard_outdated()
        key = identity(point)
        if key not in self._features:
            self._features[key] = layout_features(self.architecture(point))
        return self._features[key]

    def parts(self, name: str, point: Parameters) -> Parts:
        """Return the parts of a predictable score, of which a size has one."""
        self._discard_outdated()
        key = name, identity(point)
        if key not in self._parts:
            architecture = self.architecture(point)
            if name == PARAMETERS:
                self._parts[key] = {"once": float(parameter_counts(architecture).total)}
            elif is_size(name):
                size = weight_bytes(architecture, self._deployment.quantization)
                self._parts[key] = {"weights": float(size), "once": 1.0}
            else:
                self._parts[key] = parts_of(name, architecture, self._deployment)
        return self._parts[key]

    def feasibility(
        self, points: Sequence[Parameters], constrained: Sequence[FrozenTrial]
    ) -> _Numbers:
        from scipy.special import ndtr

        probability = np.ones(len(points))
        for name, most in limits(self._spec).items():
            if not is_predictable(name):
                continue
            limited = [
                (each, value)
                for each in constrained
                if (value := _limited_value(each, name, most)) is not None
            ]
            known, values = [each for each, _ in limited], [value for _, value in limited]
            means, deviations = self.estimate(name, points, known, values)
            probability *= ndtr((most - means) / np.maximum(deviations, 1e-9 * most))
        return probability

    def preliminary(self, trial: FrozenTrial) -> list[float] | None:
        scores: Mapping[str, float] = trial.user_attrs.get(PRELIMINARY_SCORES, {})
        names = [objective.name for objective in self._spec.objectives]
        return [scores[name] for name in names] if scores.keys() >= set(names) else None

    def estimate(
        self,
        name: str,
        points: Sequence[Parameters],
        known: Sequence[FrozenTrial],
        values: Sequence[float],
    ) -> tuple[_Numbers, _Numbers]:
        """Estimate a score of points from its values in finished trials.

        Returns:
            The means and standard deviations, (N,) each. With too few values, nothing is expected
            to be better than anything else.
        """
        parts = [self.parts(name, point) for point in points]
        if name == "parameters":
            return np.array([each["once"] for each in parts]), np.zeros(len(points))
        if len(known) < FEWEST_MEASUREMENTS:
            return np.zeros(len(points)), np.zeros(len(points))
        return self._fitted(name, known, values).predict(parts)

    def _fitted(
        self, name: str, known: Sequence[FrozenTrial], values: Sequence[float]
    ) -> CostEstimate:
        """Return the estimate of a score; all points of a proposal share one fit."""
        measured = [
            (identity(each.params), value) for each, value in zip(known, values, strict=True)
        ]
        earlier = self._fits.get(name)
        if earlier is None or earlier[0] != measured:
            known_parts = [self.parts(name, each.params) for each in known]
            self._fits[name] = earlier = measured, CostEstimate(known_parts, values)
        return earlier[1]

    def _point_of(self, architecture: Architecture) -> Parameters | None:
        if architecture not in self._points:
            is_legal = all_kept(self._checks(architecture))
            point = encode(self._space, architecture) if is_legal else None
            self._points[architecture] = point
            if point is not None:
                self._architectures[identity(point)] = architecture
        return self._points[architecture]

    def _checks(self, architecture: Architecture) -> tuple[RuleCheck, ...]:
        return check_sizes(
            architecture, self._space, self._deployment.quantization, self._matching.latency
        )

    def _discard_outdated(self) -> None:
        """Discard cached values that depend on an earlier prediction of the matched latency."""
        if self._version == self._matching.version:
            return
        self._version = self._matching.version
        self._points.clear()
        kept = {key: each for key, each in self._architectures.items() if _is_recorded(key)}
        self._architectures = kept
        self._features = {key: each for key, each in self._features.items() if key in kept}
        self._parts = {key: each for key, each in self._parts.items() if key[1] in kept}

    def _moved(self, point: Parameters, generator: np.random.Generator) -> Parameters:
        """Return a point with one change: of a choice, or of the order of two layers."""
        depth = len(self.architecture(point).layers)
        layers = [name for name in self._values if is_layer_parameter(name)][:depth]
        move = int(generator.integers(4))
        if len(layers) < 2 or move < 2:
            return changed(self._values, point, generator)
        one, other = (int(index) for index in generator.choice(len(layers), 2, replace=False))
        letters = [point[name] for name in layers]
        if move == 2:
            letters[one], letters[other] = letters[other], letters[one]
        else:
            letters.insert(other, letters.pop(one))
        return {**point, **dict(zip(layers, letters, strict=True))}


class _ObjectiveCost:
    """Predicts an objective from its values in finished trials."""

    def __init__(self, study: _StudyProblem, name: str, index: int) -> None:
        self._study = study
        self._name = name
        self._index = index

    def __call__(
        self, points: Sequence[Parameters], finished: Sequence[FrozenTrial]
    ) -> tuple[_Numbers, _Numbers]:
        values = [each.values[self._index] for each in finished]
        return self._study.estimate(self._name, points, finished, values)


def _is_recorded(key: Identity) -> bool:
    return any(name == FEED_FORWARD_BLOCKS for name, _ in key)


def _limited_value(trial: FrozenTrial, name: str, most: float) -> float | None:
    """Return the value of a limited score in a trial; None if it is unknown."""
    if f"{name}.max" in trial.constraints:
        return float(most * (1 + trial.constraints[f"{name}.max"]))
    scores: Mapping[str, float] = trial.user_attrs.get(PRELIMINARY_SCORES, {})
    return scores.get(name)


def _known_deviation(trial: FrozenTrial) -> float:
    """Return the error of the loss of a candidate that was stopped early, beyond that of others."""
    attributes: Mapping[str, Any] = trial.user_attrs.get("nas", {})
    return _STOPPED_DEVIATION if attributes.get("state") == "stopped" else 0.0


def _distributions(spec: StudySpec) -> dict[str, BaseDistribution]:
    """Return the distribution of every parameter that `draw` asks for."""
    parameters = encode(spec.space, draw(spec.space, RandomSuggester(np.random.default_rng(0))))
    assert parameters is not None, "a space contains what is drawn from it"
    recorder = FixedTrial(dict(parameters))
    draw(spec.space, recorder)
    return recorder.distributions
