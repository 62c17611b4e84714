"""Statistics of simulated searches: hypervolume against trials, and comparisons of samplers.

All comparisons are between runs with the same seed. Intervals are 95 % bootstrap intervals over the
seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from studies.analysis.pareto_front import hypervolume, hypervolume_growth, non_dominated

_Numbers: TypeAlias = NDArray[np.float64]
Curves: TypeAlias = Mapping[str, _Numbers]
"""The hypervolume after each trial as a fraction of the best known one, by sampler, (seeds, T)."""

OPTUNA_SAMPLERS = ("tpe", "nsga2", "gp", "random")
BASELINE = "random"
MODEL_FREE = ("front-mutation", "screened-tpe")
"""The samplers that know the costs but have no model of the loss from features."""

_RESAMPLES = 2_000
_INTERVAL = (2.5, 97.5)
_SURFACES = (25, 50, 75)
# Hypervolumes that differ by less are equal.
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class MedianEstimate:
    """A median over seeds with its 95 % bootstrap interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The comparison of a sampler with the others.

    Attributes:
        fractions: The fraction of the best known hypervolume after so many trials.
        speed_up: The trials that the best of Optuna's samplers needed for its final hypervolume,
            divided by the trials that this sampler needed for it. It is 0 for a seed that never
            reached it.
        unreached: The number of seeds that never reached it.
        at_least_as_good: The fraction of seeds that were at least as good, after the trials of the
            comparison, as the best of Optuna's samplers there.
        below_random: The number of seeds that were worse than random sampling after at least one
            trial that followed the start-up.
        largest_shortfall: The largest difference to random sampling there, as a fraction of the
            best known hypervolume.
        last_below: The last trial after which that was so with some seed.
        differences: The fraction that this sampler has after the trials of the comparison minus
            that of each other sampler.
    """

    fractions: Mapping[int, MedianEstimate]
    speed_up: MedianEstimate | None
    unreached: int | None
    at_least_as_good: float | None
    below_random: int | None
    largest_shortfall: float | None
    last_below: int | None
    differences: Mapping[str, MedianEstimate]


def hypervolume_curve(values: _Numbers, reference: Sequence[float]) -> _Numbers:
    """Return the hypervolume after each trial, (T,).

    Args:
        values: The noiseless objectives, (T, M); infinite for trials that do not count.
        reference: The reference point, (M,).
    """
    curve = np.zeros(len(values))
    for increase in hypervolume_growth(values.tolist(), reference):
        curve[increase.index :] = increase.hypervolume
    return curve


def best_known(runs: Sequence[_Numbers], reference: Sequence[float]) -> float:
    """Return the hypervolume of the trials of all runs together.

    Args:
        runs: The noiseless objectives of each run, (T, M).
        reference: The reference point, (M,).
    """
    points = np.vstack(runs)
    points = points[np.isfinite(points).all(axis=1)]
    return hypervolume(points[list(non_dominated(points))], reference)


def median_of(values: Sequence[float] | _Numbers) -> MedianEstimate:
    """Return the median of values, one per seed, with its interval."""
    sample = np.asarray(values, dtype=np.float64)
    chosen = np.random.default_rng(0).integers(len(sample), size=(_RESAMPLES, len(sample)))
    low, high = np.percentile(np.median(sample[chosen], axis=1), _INTERVAL)
    return MedianEstimate(median=float(np.median(sample)), low=float(low), high=float(high))


def trials_to_reach(curve: _Numbers, target: float) -> int | None:
    """Return the number of trials after which a curve first reaches a value; None if never."""
    reached = np.flatnonzero(curve >= target - _TOLERANCE)
    return int(reached[0]) + 1 if len(reached) else None


def best_of_optuna(curves: Curves, trials: int) -> str | None:
    """Return Optuna's sampler with the largest median after so many trials; None without any."""
    own = [name for name in OPTUNA_SAMPLERS if name in curves]
    return max(own, key=lambda name: float(np.median(curves[name][:, trials - 1])), default=None)


def compare(
    name: str, curves: Curves, *, startup: int, shown: Sequence[int], compared_at: int
) -> Comparison:
    """Compare a sampler with all others.

    Args:
        name: The sampler.
        curves: The curves of all samplers, with the same seeds in the same order.
        startup: The number of random trials at the start.
        shown: The numbers of trials for which fractions are returned.
        compared_at: The number of trials after which samplers are compared.
    """
    own = curves[name]
    trials = own.shape[1]
    speed_ups, at_least_as_good = None, None
    final = best_of_optuna(curves, trials)
    if final is not None:
        pairs = zip(own, curves[final], strict=True)
        speed_ups = [_speed_up(one, other) for one, other in pairs]
    rival = best_of_optuna(curves, compared_at)
    if rival is not None:
        gains = own[:, compared_at - 1] - curves[rival][:, compared_at - 1]
        at_least_as_good = float(np.mean(gains >= -_TOLERANCE))
    below: _Numbers | None = None
    last_below = None
    if BASELINE in curves and startup < trials:
        below = np.maximum(curves[BASELINE][:, startup:] - own[:, startup:], 0.0)
        (when,) = np.nonzero((below > _TOLERANCE).any(axis=0))
        last_below = startup + int(when[-1]) + 1 if len(when) else None
    return Comparison(
        fractions={count: median_of(own[:, count - 1]) for count in shown},
        speed_up=None if speed_ups is None else median_of(speed_ups),
        unreached=None if speed_ups is None else sum(each == 0 for each in speed_ups),
        at_least_as_good=at_least_as_good,
        below_random=None if below is None else int(np.sum((below > _TOLERANCE).any(axis=1))),
        largest_shortfall=None if below is None else float(below.max()),
        last_below=last_below,
        differences={
            other: median_of(own[:, compared_at - 1] - curves[other][:, compared_at - 1])
            for other in curves
            if other != name
        },
    )


def attainment_surfaces(
    runs: Sequence[_Numbers], reference: Sequence[float]
) -> dict[int, list[list[float]]]:
    """Return the points of the surfaces that 25, 50 and 75 % of the runs attain.

    Args:
        runs: The noiseless objectives of each run, (T, M).
        reference: The reference point, (M,). It represents a run that attained nothing.
    """
    import moocore

    fronts, sets = [], []
    for number, values in enumerate(runs):
        inside = values[(values < np.asarray(reference)).all(axis=1)]
        front = inside[list(non_dominated(inside))] if len(inside) else np.array([reference])
        fronts.append(front)
        sets += [number] * len(front)
    surfaces = moocore.eaf(np.vstack(fronts), sets, percentiles=_SURFACES)
    return {percent: surfaces[surfaces[:, -1] == percent, :-1].tolist() for percent in _SURFACES}


def _speed_up(own: _Numbers, rival: _Numbers) -> float:
    target = float(rival[-1])
    needed, of_rival = trials_to_reach(own, target), trials_to_reach(rival, target)
    assert of_rival is not None
    return 0.0 if needed is None else of_rival / needed
