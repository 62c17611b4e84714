"""The search problem of a study: its space, and the costs of its architectures."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial

from search_space.architecture import Architecture
from search_space.quantization import Quantization
from search_space.space.encoding import FixedSuggester, RandomSuggester, draw, encode
from search_space.space.layout_features import layout_features
from search_space.space.space_definition import Space, check_sizes
from studies.samplers.search_problem import Identity, Parameters, SearchProblem, changed, identity, values_of

_Numbers = NDArray[np.float64]
Predictor = Callable[[Sequence[Architecture]], tuple[_Numbers, _Numbers]]


def architecture_problem(
    space: Space,
    quantization: Quantization,
    costs: Mapping[int, Predictor],
    feasibility: Callable[[Sequence[Architecture]], _Numbers] | None = None,
    **more: object,
) -> SearchProblem:
    architectures: dict[Identity, Architecture] = {}
    features: dict[Identity, tuple[float, ...]] = {}
    canonical: dict[Architecture, Parameters | None] = {}

    def of(point: Parameters) -> Architecture:
        key = identity(point)
        if key not in architectures:
            architectures[key] = draw(space, FixedSuggester(point))
        return architectures[key]

    def point_of(architecture: Architecture) -> Parameters | None:
        if architecture not in canonical:
            point = None
            if all(check.excess <= 0 for check in check_sizes(architecture, space, quantization)):
                point = encode(space, architecture)
            canonical[architecture] = point
            if point is not None:
                architectures[identity(point)] = architecture
        return canonical[architecture]

    def legal(point: Parameters) -> Parameters | None:
        return point_of(of(point))

    def random_point(generator: np.random.Generator) -> Parameters:
        suggester = RandomSuggester(generator)
        for _ in range(500):
            point = point_of(draw(space, suggester))
            if point is not None:
                return point
        raise ValueError("no legal architecture")

    choices = values_of(distributions(space))

    def mutate(point: Parameters, generator: np.random.Generator) -> Parameters | None:
        for _ in range(_MOST_ATTEMPTS):
            found = legal(_moved(choices, point, len(of(point).layers), generator))
            if found is not None and found != point:
                return found
        return None

    def features_of(point: Parameters) -> tuple[float, ...]:
        key = identity(point)
        if key not in features:
            features[key] = layout_features(of(point))
        return features[key]

    return SearchProblem(
        space=distributions(space),
        costs={
            index: functools.partial(lambda predict, points, finished: predict([of(p) for p in points]), predict)
            for index, predict in costs.items()
        },
        features=features_of,
        legal=legal,
        draw=random_point,
        mutate=mutate,
        **({} if feasibility is None else {"feasibility": lambda points, finished: feasibility([of(p) for p in points])}),
        **more,
    )


_MOST_ATTEMPTS = 5


def _moved(values, point: Parameters, depth: int, generator: np.random.Generator) -> Parameters:
    """Return a point with one change: of a choice, or two layers swapped, or one moved."""
    layers = [name for name in values if name.startswith("mixer_")][:depth]
    move = int(generator.integers(4))
    if len(layers) < 2 or move < 2:
        return changed(values, point, generator)
    one, other = sorted(int(index) for index in generator.choice(len(layers), 2, replace=False))
    letters = [point[name] for name in layers]
    if move == 2:
        letters[one], letters[other] = letters[other], letters[one]
    elif generator.random() < 0.5:
        letters.insert(other, letters.pop(one))
    else:
        letters.insert(one, letters.pop(other))
    return {**point, **dict(zip(layers, letters, strict=True))}


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the distribution of every parameter that `draw` asks for."""
    recorder = FixedTrial(encode(space, draw(space, RandomSuggester(np.random.default_rng(0)))))
    draw(space, recorder)
    return recorder.distributions
