"""Pareto fronts of points whose values are all minimised: members, hypervolume and knee."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Points: TypeAlias = NDArray[np.float64]  # (points, objectives)

# moocore is imported where it is used: with its data sets it takes 0.1 s to import, and most
# commands show no front.


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervolumeIncrease:
    """A point that increased the hypervolume.

    Attributes:
        index: The position of the point.
        hypervolume: The hypervolume of all points up to and including this one.
    """

    index: int
    hypervolume: float


def non_dominated(values: ArrayLike, provisional: Sequence[bool] | None = None) -> tuple[int, ...]:
    """Return the sorted indices of the non-dominated points.

    Equal points do not dominate each other: either all of them are on the front or none.

    Args:
        values: Shape (points, objectives).
        provisional: For each point, whether one of its values is too unreliable to dominate another
            point; None if all are reliable.
    """
    from moocore import is_nondominated

    points = _points(values)
    if not len(points):
        return ()
    if provisional is None or not any(provisional):
        kept = is_nondominated(points, keep_weakly=True)
        return tuple(int(index) for index in np.flatnonzero(kept))
    unreliable = np.asarray(provisional, dtype=bool)
    reliable = np.flatnonzero(~unreliable)
    front = [int(reliable[index]) for index in non_dominated(points[reliable])]
    rivals = points[front]
    found = [
        int(index)
        for index in np.flatnonzero(unreliable)
        if not ((rivals <= points[index]).all(axis=1) & (rivals < points[index]).any(axis=1)).any()
    ]
    return tuple(sorted([*front, *found]))


def hypervolume(values: ArrayLike, reference_point: Sequence[float]) -> float:
    """Return the volume that the points dominate below the reference point; 0 without points.

    A point that is worse than the reference point in any objective contributes nothing.

    Args:
        values: Shape (points, objectives).
        reference_point: One value per objective.
    """
    import moocore

    points = _points(values)
    return float(moocore.hypervolume(points, ref=reference_point)) if len(points) else 0.0


def hypervolume_growth(
    values: Sequence[Sequence[float]], reference_point: Sequence[float]
) -> tuple[HypervolumeIncrease, ...]:
    """Return how the hypervolume grew as the points were added in order.

    Args:
        values: Shape (points, objectives).
        reference_point: One value per objective; see `hypervolume`.
    """
    found: list[HypervolumeIncrease] = []
    points: _Points = np.asarray(values, dtype=np.float64)
    on_front = points[:0]
    for index, point in enumerate(points):
        # Most points are dominated, which is quick to see; computing a hypervolume is slow.
        if (on_front <= point).all(axis=1).any() or (point >= reference_point).any():
            continue
        on_front = np.vstack([on_front[~(point <= on_front).all(axis=1)], point])
        volume = hypervolume(on_front, reference_point)
        found.append(HypervolumeIncrease(index=index, hypervolume=volume))
    return tuple(found)


def knee(values: ArrayLike) -> int:
    """Return the index of the member of the front that is farthest from the line between its ends.

    With the front scaled to 0 to 1 in each objective, this is the point farthest below the plane
    through the corners (1, 0, ...), (0, 1, ...), which is the point with the smallest sum (Das
    1999, "On characterizing the knee of the Pareto curve"). Ties are resolved by the first
    objective, then by the second, and so on, and finally by the order of the points.

    Args:
        values: Shape (points, objectives).

    Raises:
        ValueError: There are no points, or they are not rows of finite values.
    """
    points = _points(values)
    on_front = non_dominated(points)
    if not on_front:
        raise ValueError("values: an empty set of points has no knee")
    candidates = points[list(on_front)]
    best, extent = candidates.min(axis=0), np.ptp(candidates, axis=0)
    scaled_sums = ((candidates - best) / np.where(extent > 0, extent, 1.0)).sum(axis=1)
    # Rounded, so that sums which differ only by rounding errors count as ties and the order of the
    # points decides nothing.
    keys = [
        (round(total, 12), *point) for total, point in zip(scaled_sums, candidates, strict=True)
    ]
    return on_front[keys.index(min(keys))]


def _points(values: ArrayLike) -> _Points:
    points = np.asarray(values, dtype=np.float64)
    if not points.size:
        return points.reshape(0, 0)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise ValueError("values: points are not rows of equally many finite values")
    return points
