"""How the hypervolume of a study grew, candidate by candidate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studies.analysis import pareto_front


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The volume from the candidate at `index` on, which made it larger."""

    index: int
    hypervolume: float


def growth(points: Sequence[Sequence[float]], corner: Sequence[float]) -> tuple[Growth, ...]:
    """Of points in the order in which they came; see `pareto.hypervolume`."""
    found: list[Growth] = []
    values: NDArray[np.float64] = np.asarray(points, dtype=np.float64)
    on_front = values[:0]
    for index, point in enumerate(values):
        # Most points are beaten, which is seen at once; volumes are costly.
        if (on_front <= point).all(axis=1).any() or (point >= corner).any():
            continue
        on_front = np.vstack([on_front[~(point <= on_front).all(axis=1)], point])
        found.append(Growth(index=index, hypervolume=pareto_front.hypervolume(on_front, corner)))
    return tuple(found)
