"""What a sampler must know of a study whose costs can be predicted."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial

_Numbers = NDArray[np.float64]

# Optuna types the values of parameters as Any.
Parameters: TypeAlias = Mapping[str, Any]
Identity: TypeAlias = tuple[tuple[str, Any], ...]


class CostPredictor(Protocol):
    """Predicts an objective of points that have not been evaluated.

    Example:
        def parameters_of(points, finished):
            sizes = np.array([point["width"] ** 2 * point["depth"] for point in points])
            return sizes, np.zeros(len(points))
    """

    def __call__(
        self, points: Sequence[Parameters], finished: Sequence[FrozenTrial]
    ) -> tuple[_Numbers, _Numbers]:
        """Return the means and the standard deviations of the objective, (N,) each.

        Args:
            points: The points.
            finished: The trials with values, from which the prediction may learn.
        """
        ...


class Feasibility(Protocol):
    """Estimates whether points keep the limits of a study."""

    def __call__(
        self, points: Sequence[Parameters], constrained: Sequence[FrozenTrial]
    ) -> _Numbers:
        """Return the probability of each point, (N,).

        Args:
            points: The points.
            constrained: The trials that have constraints or preliminary values, from which the
                estimate may learn.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchProblem:
    """The points of a search, and what is known about them without an evaluation.

    Attributes:
        space: The distribution of each parameter. Every trial has all of them.
        costs: A predictor for each objective that can be predicted, by its index. All objectives
            but one must have one.
        features: Returns the features of a point, from which the remaining objective is predicted.
        legal: Returns the canonical form of a point, which stands for all points that mean the
            same; None if the point is not allowed.
        draw: Draws a random canonical point.
        mutate: Returns a random canonical point that differs little from a canonical point; None if
            the attempt led to no legal one.
        feasibility: Estimates whether points keep the limits of the study.
        noise: Returns the known standard deviation of the remaining objective of a finished trial.
        preliminary: Returns the objectives of a running trial if it has been evaluated but some
            values may still change; None if it has not. Such a trial counts as finished.
        recorded: The names of parameters that trials may have beyond the space. They record values
            that were not chosen but followed from the choices at that time. `features`, `legal`,
            the costs and `feasibility` accept points with these parameters; canonical points do
            not have them.
    """

    space: Mapping[str, BaseDistribution]
    costs: Mapping[int, CostPredictor]
    features: Callable[[Parameters], Sequence[float]]
    legal: Callable[[Parameters], Parameters | None]
    draw: Callable[[np.random.Generator], Parameters]
    mutate: Callable[[Parameters, np.random.Generator], Parameters | None]
    feasibility: Feasibility = field(default=lambda points, _: np.ones(len(points)))
    noise: Callable[[FrozenTrial], float] = field(default=lambda _: 0.0)
    preliminary: Callable[[FrozenTrial], Sequence[float] | None] = field(default=lambda _: None)
    recorded: Collection[str] = ()

    def feature_table(self, points: Sequence[Parameters]) -> _Numbers:
        """Return the features of points, (N, D)."""
        return np.array([self.features(point) for point in points], dtype=np.float64)

    def cost_table(
        self, points: Sequence[Parameters], finished: Sequence[FrozenTrial]
    ) -> tuple[_Numbers, _Numbers]:
        """Return the means and standard deviations of all costs, (N, K) each."""
        tables = [predict(points, finished) for _, predict in sorted(self.costs.items())]
        means, deviations = zip(*tables, strict=True)
        return np.column_stack(means), np.column_stack(deviations)


def identity(point: Parameters) -> Identity:
    """Return a hashable form of a canonical point."""
    return tuple(sorted(point.items()))


def problem_of_parameters(
    space: Mapping[str, BaseDistribution], costs: Mapping[int, CostPredictor]
) -> SearchProblem:
    """Return a problem whose features are the parameters themselves.

    Args:
        space: The distribution of each parameter, which is an integer or a category.
        costs: A predictor for each objective that can be predicted, by its index.

    Raises:
        ValueError: A parameter has a floating-point distribution.
    """
    values = values_of(space)
    numbers = [name for name in space if not isinstance(space[name], CategoricalDistribution)]
    categories = [name for name in space if name not in numbers]

    def features(point: Parameters) -> list[float]:
        chosen = [value == point[name] for name in categories for value in values[name]]
        return [*(float(point[name]) for name in numbers), *map(float, chosen)]

    def draw(generator: np.random.Generator) -> Parameters:
        return {
            name: choices[int(generator.integers(len(choices)))] for name, choices in values.items()
        }

    return SearchProblem(
        space=space,
        costs=costs,
        features=features,
        legal=lambda point: point,
        draw=draw,
        mutate=lambda point, generator: changed(values, point, generator),
    )


def changed(
    values: Mapping[str, Sequence[Any]], point: Parameters, generator: np.random.Generator
) -> Parameters:
    """Return a point with another value of one random parameter.

    If no parameter has several values, this is the point itself.

    Args:
        values: The values of each parameter.
        point: The point.
        generator: The source of randomness.
    """
    names = [name for name, choices in values.items() if len(choices) > 1]
    if not names:
        return point
    name = names[int(generator.integers(len(names)))]
    others = [value for value in values[name] if value != point[name]]
    return {**point, name: others[int(generator.integers(len(others)))]}


def values_of(space: Mapping[str, BaseDistribution]) -> dict[str, Sequence[Any]]:
    """Return the values of each parameter.

    Raises:
        ValueError: A parameter has a floating-point distribution.
    """
    return {name: _values(name, distribution) for name, distribution in space.items()}


def _values(name: str, distribution: BaseDistribution) -> Sequence[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if not isinstance(distribution, IntDistribution):
        raise ValueError(f"space: {name!r} is not an integer or categorical parameter")
    return range(distribution.low, distribution.high + 1, distribution.step)
