"""The expected hypervolume improvement of candidates whose costs are known in advance.

One objective, the outcome, is uncertain, and all others, the costs, are known; all are minimised.
Above a point of the space of costs, the front has a level: the best outcome of the trials that cost
no more in any respect. A candidate improves the front wherever it costs no more and has a better
outcome than the level, so its hypervolume improvement is an integral over the space of costs. The
level is constant in the cells of a grid through the costs of the front. The expectation is
therefore a finite sum, over the cells that the candidate covers, of the area of the cell times the
expected improvement on its level. Emmerich, Deutz and Klinkenberg, "Hypervolume-based expected
improvement: Monotonicity properties and exact computation", IEEE CEC 2011, give the expectation for
objectives that are all uncertain.

Shapes: N candidates, F trials of the front, K costs, C cells along one cost.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Numbers = NDArray[np.float64]

# Candidates whose expected improvement is computed at a time, which limits the memory it takes.
_CELLS_AT_A_TIME = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLevels:
    """The level of a front in each cell of the space of costs.

    Attributes:
        edges: For each cost, the edges of the cells in ascending order, (C + 1,); the last edge is
            the reference point.
        level_index: The index in `levels` of the level of each cell, (C_1, ..., C_K).
        levels: The outcomes that are levels of some cell, (F + 1,) at most.
    """

    edges: tuple[_Numbers, ...]
    level_index: NDArray[np.intp]
    levels: _Numbers


def front_levels(costs_FK: _Numbers, outcomes_F: _Numbers, reference: _Numbers) -> FrontLevels:
    """Return the levels of a front.

    Args:
        costs_FK: The costs of trials; they may dominate each other.
        outcomes_F: Their outcomes.
        reference: The reference point of the hypervolume: K costs, then the outcome. A trial that
            does not dominate it is ignored.
    """
    dominating = np.all(costs_FK < reference[:-1], axis=1) & (outcomes_F < reference[-1])
    order = np.argsort(outcomes_F[dominating], kind="stable")
    costs_FK, outcomes_F = costs_FK[dominating][order], outcomes_F[dominating][order]
    kept: list[int] = []
    for index, cost_K in enumerate(costs_FK):
        if not any(np.all(costs_FK[better] <= cost_K) for better in kept):
            kept.append(index)
    costs_FK, outcomes_F = costs_FK[kept], outcomes_F[kept]
    edges = tuple(
        np.unique([-math.inf, *costs_F, limit])
        for costs_F, limit in zip(costs_FK.T, reference[:-1], strict=True)
    )
    corners = np.stack(np.meshgrid(*(edge[:-1] for edge in edges), indexing="ij"), axis=-1)
    # Levels are in ascending order, so the first trial that covers a cell sets its level.
    level_index = np.full(corners.shape[:-1], len(kept), dtype=np.intp)
    for index in reversed(range(len(kept))):
        level_index[np.all(corners >= costs_FK[index], axis=-1)] = index
    return FrontLevels(
        edges=edges, level_index=level_index, levels=np.append(outcomes_F, reference[-1])
    )


def expected_improvement(
    front: FrontLevels, costs_NK: _Numbers, means_N: _Numbers, deviations_N: _Numbers
) -> _Numbers:
    """Return the expected hypervolume improvement of each candidate, (N,).

    Args:
        front: The present front.
        costs_NK: The costs of the candidates.
        means_N: The expected outcome of each.
        deviations_N: The standard deviation of each outcome, which is normally distributed.
    """
    step = max(1, _CELLS_AT_A_TIME // front.level_index.size)
    parts = [
        _improvement(front, costs_NK[start : start + step], means, deviations)
        for start, means, deviations in (
            (start, means_N[start : start + step], deviations_N[start : start + step])
            for start in range(0, len(costs_NK), step)
        )
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _improvement(
    front: FrontLevels, costs_NK: _Numbers, means_N: _Numbers, deviations_N: _Numbers
) -> _Numbers:
    by_level = _expected_decrease(front.levels[None], means_N[:, None], deviations_N[:, None])
    remaining = by_level[:, front.level_index]  # (N, C_1, ..., C_K)
    for cost, edge in reversed(list(enumerate(front.edges))):
        low = np.maximum(edge[None, :-1], costs_NK[:, cost, None])
        covered = np.maximum(edge[None, 1:] - low, 0.0)  # (N, C)
        remaining = np.einsum("n...c,nc->n...", remaining, covered)
    return remaining


def _expected_decrease(levels: _Numbers, means: _Numbers, deviations: _Numbers) -> _Numbers:
    """Return E[max(0, level - outcome)] for a normally distributed outcome."""
    from scipy.special import ndtr  # most programs that import this package need no sampler

    gain = levels - means
    scaled = gain / np.maximum(deviations, np.finfo(float).eps)
    # Beyond 30 standard deviations, the density is less than any number can hold.
    density = np.exp(-0.5 * np.square(np.clip(scaled, -30, 30))) / math.sqrt(2 * math.pi)
    return np.asarray(np.maximum(gain * ndtr(scaled) + deviations * density, 0.0))
