"""Where attention sits in good layouts, and how much of it is good, at equal speed."""

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
_BEST_SHARE = 0.2
_FEWEST_TELLING = 3

_Shares: TypeAlias = tuple[tuple[float, ...], ...]  # a row a letter, a column a tenth of the depth


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The shares of each letter of `letters` among the layers at each tenth of the depth.

    best: of the fifth of layouts that are best for their speed. rest: of the others.
    """

    letters: str
    best: _Shares
    rest: _Shares
    best_count: int
    rest_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCount:
    """Layouts with so many attention layers, full or sliding, against all others of their speed.

    difference: the mean of what they are above the usual. low, high: its 95 % interval, None for
        fewer than three layouts.
    """

    layers: int
    count: int
    difference: float
    low: float | None
    high: float | None


def above_usual(values: Sequence[float], speeds: Sequence[float]) -> tuple[float, ...]:
    """How far each value is above what is usual at its speed: a parabola over the log of speed."""
    logs = np.log(np.asarray(speeds, dtype=np.float64))
    target = np.asarray(values, dtype=np.float64)
    spread = logs.std()
    if spread == 0:
        return tuple(float(value) for value in target - target.mean())
    scaled = (logs - logs.mean()) / spread
    degree = min(2, len(set(speeds)) - 1)
    usual = np.polynomial.Polynomial.fit(scaled, target, degree)(scaled)
    return tuple(float(value) for value in target - usual)


def placement(shapes: Sequence[Shape], above: Sequence[float]) -> Placement:
    """`above` as `above_usual` finds it; needs five shapes."""
    assert len(shapes) == len(above) >= 1 / _BEST_SHARE
    order = np.argsort(above, kind="stable")
    count = round(_BEST_SHARE * len(shapes))
    letters = [letter for letter in MIXERS if any(letter in shape.layout for shape in shapes)]
    return Placement(
        letters="".join(letters),
        best=_shares([shapes[index].layout for index in order[:count]], letters),
        rest=_shares([shapes[index].layout for index in order[count:]], letters),
        best_count=count,
        rest_count=len(shapes) - count,
    )


def attention_counts(shapes: Sequence[Shape], above: Sequence[float]) -> tuple[AttentionCount, ...]:
    """By the number of attention layers."""
    groups: dict[int, list[float]] = {}
    for shape, value in zip(shapes, above, strict=True):
        groups.setdefault(shape.attention_layers, []).append(value)
    return tuple(_count(layers, groups[layers]) for layers in sorted(groups))


def _shares(layouts: Sequence[str], letters: Sequence[str]) -> _Shares:
    """A layer counts in each tenth by as much as it lies there, so that all depths compare."""
    found: NDArray[np.float64] = np.zeros((len(letters), _TENTHS))
    edges = np.arange(_TENTHS + 1) / _TENTHS
    for layout in layouts:
        starts = np.arange(len(layout)) / len(layout)
        ends = starts + 1 / len(layout)
        overlap = np.minimum(ends[:, None], edges[1:]) - np.maximum(starts[:, None], edges[:-1])
        overlap = np.maximum(0.0, overlap) * _TENTHS
        for row, letter in enumerate(letters):
            found[row] += overlap[[each == letter for each in layout]].sum(axis=0)
    return tuple(tuple(float(share) for share in row / len(layouts)) for row in found)


def _count(layers: int, values: Sequence[float]) -> AttentionCount:
    mean, count = float(np.mean(values)), len(values)
    half = math.nan
    if count >= _FEWEST_TELLING:
        half = float(stdtrit(count - 1, 0.975) * np.std(values, ddof=1) / math.sqrt(count))
    known = not math.isnan(half)
    return AttentionCount(
        layers=layers,
        count=count,
        difference=mean,
        low=mean - half if known else None,
        high=mean + half if known else None,
    )
