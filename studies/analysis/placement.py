"""Compares where mixers are placed, and how much attention there is, at equal speed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from search_space.architecture import MIXERS
from studies.analysis.shapes import Shape

_TENTHS = 10
_BEST_FRACTION = 0.2
_FEWEST_FOR_INTERVAL = 3

_Fractions: TypeAlias = tuple[tuple[float, ...], ...]  # (letters, tenths of the depth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The proportions of mixers at each tenth of the depth.

    Attributes:
        letters: The layout letters of the mixers, one per row of `best` and `rest`.
        best: The fraction of layers with each mixer, at each tenth of the depth, among the fifth of
            layouts that are best at their speed.
        rest: The same fractions among all other layouts.
        best_count: The number of layouts in `best`.
        rest_count: The number of layouts in `rest`.
    """

    letters: str
    best: _Fractions
    rest: _Fractions
    best_count: int
    rest_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCount:
    """The layouts with the same number of attention layers, compared with all at equal speed.

    Attributes:
        layers: The number of layers with full or sliding-window attention.
        count: The number of such layouts.
        difference: The mean of their residuals; see `residuals_at_speed`.
        low: The lower bound of its 95 % confidence interval (Student's t); None for fewer than
            three layouts.
        high: The upper bound.
    """

    layers: int
    count: int
    difference: float
    low: float | None
    high: float | None


def residuals_at_speed(values: Sequence[float], speeds: Sequence[float]) -> tuple[float, ...]:
    """Return how far each value is above the value that is typical at its speed.

    The typical value is a parabola in the logarithm of speed, fitted by least squares.

    Args:
        values: The objective to compare.
        speeds: The positive objective to compare at, such as the time per token.
    """
    logs = np.log(np.asarray(speeds, dtype=np.float64))
    target = np.asarray(values, dtype=np.float64)
    spread = logs.std()
    if spread == 0:
        return tuple(float(value) for value in target - target.mean())
    scaled = (logs - logs.mean()) / spread
    degree = min(2, len(set(speeds)) - 1)
    typical = np.polynomial.Polynomial.fit(scaled, target, degree)(scaled)
    return tuple(float(value) for value in target - typical)


def placement(shapes: Sequence[Shape], residuals: Sequence[float]) -> Placement:
    """Compare the placement of mixers in the best fifth of layouts with that in the others.

    Args:
        shapes: At least five shapes.
        residuals: Their residuals; see `residuals_at_speed`.
    """
    assert len(shapes) == len(residuals) >= 1 / _BEST_FRACTION
    order = np.argsort(residuals, kind="stable")
    count = round(_BEST_FRACTION * len(shapes))
    letters = [letter for letter in MIXERS if any(letter in shape.layout for shape in shapes)]
    return Placement(
        letters="".join(letters),
        best=_fractions([shapes[index].layout for index in order[:count]], letters),
        rest=_fractions([shapes[index].layout for index in order[count:]], letters),
        best_count=count,
        rest_count=len(shapes) - count,
    )


def attention_counts(
    shapes: Sequence[Shape], residuals: Sequence[float]
) -> tuple[AttentionCount, ...]:
    """Group layouts by their number of attention layers, in ascending order.

    Args:
        shapes: The shapes of the layouts.
        residuals: Their residuals; see `residuals_at_speed`.
    """
    groups: dict[int, list[float]] = {}
    for shape, value in zip(shapes, residuals, strict=True):
        groups.setdefault(shape.attention_layers, []).append(value)
    return tuple(_count(layers, groups[layers]) for layers in sorted(groups))


def _fractions(layouts: Sequence[str], letters: Sequence[str]) -> _Fractions:
    """Weight a layer by its overlap with each tenth, so that all depths are comparable."""
    found: NDArray[np.float64] = np.zeros((len(letters), _TENTHS))
    edges = np.arange(_TENTHS + 1) / _TENTHS
    for layout in layouts:
        starts = np.arange(len(layout)) / len(layout)
        ends = starts + 1 / len(layout)
        overlap = np.minimum(ends[:, None], edges[1:]) - np.maximum(starts[:, None], edges[:-1])
        overlap = np.maximum(0.0, overlap) * _TENTHS
        for row, letter in enumerate(letters):
            found[row] += overlap[[each == letter for each in layout]].sum(axis=0)
    return tuple(tuple(float(fraction) for fraction in row / len(layouts)) for row in found)


def _count(layers: int, values: Sequence[float]) -> AttentionCount:
    mean, count = float(np.mean(values)), len(values)
    half = math.nan
    if count >= _FEWEST_FOR_INTERVAL:
        half = float(stdtrit(count - 1, 0.975) * np.std(values, ddof=1) / math.sqrt(count))
    known = not math.isnan(half)
    return AttentionCount(
        layers=layers,
        count=count,
        difference=mean,
        low=mean - half if known else None,
        high=mean + half if known else None,
    )
