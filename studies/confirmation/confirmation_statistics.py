"""Statistics of a confirmation: seed noise, rank correlations, and probabilities on the front."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluator import Score
from hardware.measurement import NORMAL_975, Interval

# With fewer candidates, the interval of a rank correlation is useless: even of three, one random
# order in six is perfect.
FEWEST_RANKED = 3

# scipy is imported where it is used, so that commands that show no confirmation start faster.

_Values: TypeAlias = NDArray[np.float64]

_CONFIDENCE = 0.95
_TAIL = (1 - _CONFIDENCE) / 2
# The standard error of a probability of 0.5 is then 0.0035.
_DRAWS = 20_000
_RANK_DRAWS = 4_000
# The standard deviation of a provisional score without an interval, as a fraction of its value.
_UNKNOWN_ERROR = 0.5
_HALVINGS = 14  # of the interval of correlations from -1 to 1, for a precision of 0.0001


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The seed noise: the standard deviation between training runs that differ only in their seed.

    Attributes:
        sd: The standard deviation, in the unit of the score.
        low: The lower bound of its 95 % confidence interval.
        high: The upper bound.
        degrees: The degrees of freedom of the estimate.
    """

    sd: float
    low: float
    high: float
    degrees: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RankCorrelation:
    """A Spearman rank correlation.

    Attributes:
        value: Spearman's rho.
        low: The lower bound of its 95 % confidence interval.
        high: The upper bound.
        count: The number of pairs.
    """

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateScores:
    """The objectives of a candidate, from which its probability on the front is computed.

    Attributes:
        loss: Its loss after the long training, in bits per byte.
        others: Its other objectives, in the same order for all candidates.
    """

    loss: float
    others: tuple[Score, ...]


def seed_noise(losses: Sequence[Mapping[int, float]]) -> Noise | None:
    """Estimate the seed noise from repeated training runs.

    The noise is the residual of a linear model with one effect per candidate and one per seed. The
    effect that a seed has on all candidates alike, through the order of the text, changes no rank
    and is therefore excluded. The interval follows from the chi-squared distribution of the
    residual variance.

    Args:
        losses: For each candidate, its losses by seed.

    Returns:
        The noise, or None if too few candidates were trained with more than one seed.
    """
    from scipy.special import chdtri

    seeds = sorted({seed for each in losses for seed in each})
    rows = [
        (loss, candidate, seeds.index(seed))
        for candidate, each in enumerate(losses)
        for seed, loss in each.items()
    ]
    effects = np.zeros((len(rows), len(losses) + len(seeds)))
    for row, (_, candidate, seed) in enumerate(rows):
        effects[row, [candidate, len(losses) + seed]] = 1.0
    values = np.array([loss for loss, _, _ in rows])
    degrees = len(rows) - int(np.linalg.matrix_rank(effects)) if rows else 0
    if degrees < 1:
        return None
    centred = values - values.mean()  # so that equal losses leave a residual of exactly 0
    fitted = effects @ np.linalg.lstsq(effects, centred, rcond=None)[0]
    squares = float(np.square(centred - fitted).sum())
    return Noise(
        sd=math.sqrt(squares / degrees),
        low=math.sqrt(squares / float(chdtri(degrees, _TAIL))),
        high=math.sqrt(squares / float(chdtri(degrees, 1 - _TAIL))),
        degrees=degrees,
    )


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> RankCorrelation | None:
    """Return the Spearman correlation of two score lists with its 95 % confidence interval.

    The interval contains every population correlation under which the observed one would not be
    among the 2.5 % most extreme at either end. This is the construction of Clopper and Pearson for
    a proportion, here by simulation from pairs that are bivariate normal up to an increasing
    transformation of each variable. It is valid for few pairs and for a perfect order, and its
    coverage is 95 % or slightly more.

    Args:
        one: The first score of each candidate.
        other: The second score of each candidate, in the same order.

    Returns:
        The correlation, or None for fewer than three pairs or if either list is constant.
    """
    if len(one) < FEWEST_RANKED or len(set(one)) < 2 or len(set(other)) < 2:
        return None
    value = float(_correlations(_ranks(one), _ranks(other))[0])
    population = _Population(len(one))
    return RankCorrelation(
        value=value,
        low=_spearman(population.least_with(value)),
        high=_spearman(-population.least_with(-value)),
        count=len(one),
    )


def noise_ceiling(
    short: Sequence[float], long: Sequence[float], short_sd: float, long_sd: float
) -> float | None:
    """Return an upper bound on the rank correlation of two noisy losses, given their seed noise.

    It is the mean rank correlation that a perfect proxy would reach: one whose noise-free losses
    rank the candidates exactly as the noise-free long losses do. It is simulated by adding noise to
    values that are spread as widely as the losses without their noise. The closed form for normal
    populations would overestimate it if some candidates are far from the others.

    Args:
        short: The losses of the short training runs.
        long: The losses of the long training runs, in the same order.
        short_sd: The seed noise of the short training runs, as a standard deviation.
        long_sd: The seed noise of the long training runs.

    Returns:
        The bound, or None for fewer than three candidates or if noise alone explains their
        differences.
    """
    if len(short) < FEWEST_RANKED:
        return None
    generator = np.random.default_rng(0)
    ranks = []
    for losses, sd in ((short, short_sd), (long, long_sd)):
        spread = float(np.var(losses, ddof=1))
        if spread <= sd**2:
            return None
        deviations = np.sort(losses) - np.mean(losses)
        order = deviations * math.sqrt(1.0 - sd**2 / spread)
        drawn = order + sd * generator.standard_normal((_RANK_DRAWS, len(losses)))
        ranks.append(drawn.argsort(axis=1).argsort(axis=1) - (len(losses) - 1) / 2)
    products, squares = (ranks[0] * ranks[1]).sum(axis=1), (ranks[0] ** 2).sum(axis=1)
    return float(np.mean(products / squares))


def significant_gap(noise: Noise) -> float:
    """Return the difference above which two losses differ significantly, at the 95 % level.

    Each candidate is assumed to have been trained once.

    Args:
        noise: The seed noise of such training runs, which a single run cannot show.
    """
    from scipy.special import stdtrit

    return float(stdtrit(noise.degrees, 1 - _TAIL)) * noise.sd * math.sqrt(2.0)


def front_probabilities(
    candidates: Sequence[CandidateScores], noise: Noise, limits: Mapping[str, float]
) -> tuple[float, ...]:
    """Return the probability of each candidate to be on the front of these candidates.

    The probabilities are estimated by simulation. Losses are drawn with seed noise, whose standard
    deviation is uncertain itself and is drawn as well. Other scores are drawn from normal
    distributions that match their intervals. Those without an interval are taken as exact, unless
    they are provisional. The error of the reference model's time is the same for all times that
    were measured next to it: it moves them across a limit, but not past each other.

    Args:
        candidates: The candidates.
        noise: The seed noise of their losses.
        limits: Limits by score name; a candidate is not on the front in draws that exceed one.

    Returns:
        The probabilities in the order of the candidates.
    """
    generator = np.random.default_rng(0)
    shape = (_DRAWS, len(candidates))
    sds = noise.sd * np.sqrt(noise.degrees / generator.chisquare(noise.degrees, (_DRAWS, 1)))
    columns = [
        np.array([each.loss for each in candidates]) + sds * generator.standard_normal(shape)
    ]
    allowed = np.ones(shape, dtype=bool)
    for scores in zip(*(each.others for each in candidates), strict=True):
        values = _drawn_scores(scores, generator)
        allowed &= values <= limits.get(scores[0].name, math.inf)
        columns.append(values)
    drawn = np.stack(columns)  # (objectives, draws, candidates)
    return tuple(
        float((allowed[:, n] & ~_dominated(drawn, allowed, n)).mean())
        for n in range(len(candidates))
    )


def _dominated(drawn: _Values, allowed: NDArray[np.bool_], candidate: int) -> NDArray[np.bool_]:
    """Return in which draws another candidate within the limits dominates this one."""
    own = drawn[:, :, [candidate]]
    dominates = np.all(drawn <= own, axis=0) & np.any(drawn < own, axis=0) & allowed
    dominated: NDArray[np.bool_] = dominates.any(axis=1)
    return dominated


def _drawn_scores(scores: Sequence[Score], generator: np.random.Generator) -> _Values:
    """Draw a score of each candidate; shape (draws, candidates)."""
    values = np.array([score.value for score in scores])
    errors = np.array([_own_sd(score) for score in scores])
    drawn: _Values = values + errors * generator.standard_normal((_DRAWS, len(scores)))
    keys = [None if score.measured is None else score.measured.calibration for score in scores]
    for key in dict.fromkeys(keys):
        if key is not None:
            reference_error = generator.standard_normal((_DRAWS, 1))
            same = [n for n, other in enumerate(keys) if other == key]
            shifts = np.array([scores[n].reference_half_width for n in same]) / NORMAL_975
            drawn[:, same] *= np.exp(shifts * reference_error)
    return drawn


def _own_sd(score: Score) -> float:
    """Return the standard deviation of a score, without the error of the reference model's time."""
    measured = score.measured
    if measured is not None and measured.low is not None and measured.high is not None:
        return score.value * Interval(low=measured.low, high=measured.high).log_error
    if score.low is not None and score.high is not None:
        return (score.high - score.low) / 2 / NORMAL_975
    return _UNKNOWN_ERROR * score.value if score.provisional else 0.0


class _Population:
    """Samples of `count` pairs from bivariate normal populations with any correlation."""

    def __init__(self, count: int) -> None:
        generator = np.random.default_rng(0)
        self._one = generator.standard_normal((_RANK_DRAWS, count))
        self._independent = generator.standard_normal((_RANK_DRAWS, count))
        self._one_ranks = _ranks_of_draws(self._one)

    def least_with(self, value: float) -> float:
        """Return the least population correlation for which `value` is not in the top 2.5 %."""
        low, high = -1.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            other = middle * self._one + math.sqrt(1 - middle**2) * self._independent
            # Sums of ranks in a different order may differ in the last digit.
            as_high = _correlations(self._one_ranks, _ranks_of_draws(other)) >= value - 1e-9
            if as_high.mean() > _TAIL:
                high = middle
            else:
                low = middle
        return low


def _ranks(values: Sequence[float]) -> _Values:
    """Return ranks from 0 as one row; equal values share the mean of their ranks."""
    column = np.asarray(values)[:, None]
    ranks: _Values = (column > column.T).sum(axis=1) + ((column == column.T).sum(axis=1) - 1) / 2
    return ranks[None, :]


def _ranks_of_draws(rows: _Values) -> _Values:
    """Return the ranks within each row, which has no equal values."""
    return rows.argsort(axis=1).argsort(axis=1).astype(np.float64)


def _correlations(one: _Values, other: _Values) -> _Values:
    """Return the Pearson correlation of each row of one with the same row of the other."""
    one = one - one.mean(axis=1, keepdims=True)
    other = other - other.mean(axis=1, keepdims=True)
    products = (one * other).sum(axis=1)
    lengths = np.sqrt(np.square(one).sum(axis=1) * np.square(other).sum(axis=1))
    correlations: _Values = products / lengths
    return correlations


def _spearman(pearson: float) -> float:
    """Return the rank correlation of a normal population, 6/pi arcsin(r/2) (Pearson 1907)."""
    return 6 / math.pi * math.asin(pearson / 2)
