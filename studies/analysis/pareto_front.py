"""Fronts of points whose values are all to be small: who is on one, its volume, its knee."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Points: TypeAlias = NDArray[np.float64]  # (points, objectives)

# moocore is imported where it is used: with its data sets it takes 0.1 s, which commands that show
# no front need not wait for.


def front(values: ArrayLike) -> tuple[int, ...]:
    """The indexes of the points that no other dominates, in order.

    Equal points do not dominate each other: all of them are on the front, or none.
    """
    from moocore import is_nondominated

    points = _points(values)
    if not len(points):
        return ()
    return tuple(int(index) for index in np.flatnonzero(is_nondominated(points, keep_weakly=True)))


def hypervolume(values: ArrayLike, reference_point: Sequence[float]) -> float:
    """The volume that the points dominate below the reference point; 0 for none.

    A point adds nothing where it is worse than the reference point in any objective.
    """
    import moocore

    points = _points(values)
    return float(moocore.hypervolume(points, ref=reference_point)) if len(points) else 0.0


def knee(values: ArrayLike) -> int:
    """The index of the front's point that bulges most towards the best of all objectives.

    With the front scaled to 0 to 1 in each objective, it is the point farthest below the plane
    through the corners (1, 0, ...), (0, 1, ...): the one of the smallest sum (Das 1999, "On
    characterizing the knee of the Pareto curve"). Of several, the one that is best in the first
    objective, then in the second, and so on, then the first.
    """
    points = _points(values)
    on_front = front(points)
    if not on_front:
        raise ValueError("values: no point has no knee")
    candidates = points[list(on_front)]
    best, extent = candidates.min(axis=0), np.ptp(candidates, axis=0)
    bulge = ((candidates - best) / np.where(extent > 0, extent, 1.0)).sum(axis=1)
    # Sums that differ by rounding alone are equal, so that the order of points decides nothing.
    keys = [(round(total, 12), *point) for total, point in zip(bulge, candidates, strict=True)]
    return on_front[keys.index(min(keys))]


def _points(values: ArrayLike) -> _Points:
    points = np.asarray(values, dtype=np.float64)
    if not points.size:
        return points.reshape(0, 0)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise ValueError("values: not every point is the same number of finite values")
    return points
