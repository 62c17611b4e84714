"""What repeated trainings say: the noise of seeds, how far ranks hold, who belongs on the front."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluator import Score

# Below it a rank correlation has no interval to speak of: of three, one order in six is perfect.
FEWEST_RANKED = 3
NORMAL_95 = 1.959964  # standard deviations to either side

# scipy is imported where it is used: commands that show no confirmation need not wait for it.

_Values: TypeAlias = NDArray[np.float64]

_CONFIDENCE = 0.95
_TAIL = (1 - _CONFIDENCE) / 2
# A share of 0.5 is then known to 0.0035 (one standard error).
_DRAWS = 20_000
_RANK_DRAWS = 4_000
_HALVINGS = 14  # of the correlations from -1 to 1: to 0.0001


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The standard deviation between trainings that differ in their seed, with its 95 % interval.

    degrees: of freedom.
    """

    sd: float
    low: float
    high: float
    degrees: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RankCorrelation:
    """Spearman's rho of so many pairs, with a 95 % interval."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A candidate for the front: its loss after the long training, and its other objectives."""

    loss: float
    others: tuple[Score, ...]


def seed_noise(losses: Sequence[Mapping[int, float]]) -> Noise | None:
    """From losses by seed, one mapping a candidate; None where nothing was trained twice.

    What a seed does to all candidates alike (its order of the text) moves no rank and is taken out:
    the noise is what is left beside an effect of each candidate and one of each seed. Its square
    has a chi-squared distribution, wherefrom the interval.
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
    about_0 = values - values.mean()  # so that losses which are all equal leave exactly nothing
    fitted = effects @ np.linalg.lstsq(effects, about_0, rcond=None)[0]
    squares = float(np.square(about_0 - fitted).sum())
    return Noise(
        sd=math.sqrt(squares / degrees),
        low=math.sqrt(squares / float(chdtri(degrees, _TAIL))),
        high=math.sqrt(squares / float(chdtri(degrees, 1 - _TAIL))),
        degrees=degrees,
    )


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> RankCorrelation | None:
    """None for fewer than three pairs, and where one side is all equal.

    The interval holds every correlation of a population under which this one would not be among the
    2.5 % most extreme at either end: as Clopper and Pearson do it for a share, here by simulation
    from pairs that are normal after some rising change of each side. It holds for few pairs and for
    a perfect order, and covers 95 % or a little more.
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
    """The mean rank correlation of two readings of one order, each with the noise of a training.

    It is what is left to be expected where the short trainings rank candidates as the long ones do,
    drawn again and again around values that lie as far apart as what was read does without its
    noise. A formula for normal populations tells too much where some stand apart from a crowd.

    None for fewer than three candidates, and where noise explains all that they differ by.
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


def telling_gap(noise: Noise) -> float:
    """Two candidates whose losses differ by more are different, at 95 %, each with one training.

    noise: of trainings such as these; of one seed, trainings tell nothing of their own.
    """
    from scipy.special import stdtrit

    return float(stdtrit(noise.degrees, 1 - _TAIL)) * noise.sd * math.sqrt(2.0)


def front_probabilities(
    contenders: Sequence[Contender], noise: Noise, limits: Mapping[str, float]
) -> tuple[float, ...]:
    """How probable it is that each is on the front of these, in their order.

    Drawn again and again from what is known: losses with the noise of seeds, whose size is itself
    known only so well; other scores within their intervals, those without one as they are. limits:
    budgets by name, above which a draw is off the front.
    """
    generator = np.random.default_rng(0)
    shape = (_DRAWS, len(contenders))
    sds = noise.sd * np.sqrt(noise.degrees / generator.chisquare(noise.degrees, (_DRAWS, 1)))
    columns = [
        np.array([each.loss for each in contenders]) + sds * generator.standard_normal(shape)
    ]
    allowed = np.ones(shape, dtype=bool)
    for scores in zip(*(each.others for each in contenders), strict=True):
        values = np.array([score.value for score in scores])
        values = values + np.array([_sd(score) for score in scores]) * generator.standard_normal(
            shape
        )
        allowed &= values <= limits.get(scores[0].name, math.inf)
        columns.append(values)
    drawn = np.stack(columns)  # (objectives, draws, contenders)
    return tuple(
        float((allowed[:, n] & ~_beaten(drawn, allowed, n)).mean()) for n in range(len(contenders))
    )


def _beaten(drawn: _Values, allowed: NDArray[np.bool_], contender: int) -> NDArray[np.bool_]:
    """In which draws another that is allowed is as good in everything, and better in something."""
    own = drawn[:, :, [contender]]
    beats = np.all(drawn <= own, axis=0) & np.any(drawn < own, axis=0) & allowed
    beaten: NDArray[np.bool_] = beats.any(axis=1)
    return beaten


def _sd(score: Score) -> float:
    if score.low is None or score.high is None:
        return 0.0
    return (score.high - score.low) / 2 / NORMAL_95


class _Population:
    """Rank correlations of samples of `count` pairs from normal populations of any correlation."""

    def __init__(self, count: int) -> None:
        generator = np.random.default_rng(0)
        self._one = generator.standard_normal((_RANK_DRAWS, count))
        self._beside = generator.standard_normal((_RANK_DRAWS, count))
        self._one_ranks = _ranks_of_draws(self._one)

    def least_with(self, value: float) -> float:
        """The population's correlation from which on samples as high as `value` are not rare."""
        low, high = -1.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            other = middle * self._one + math.sqrt(1 - middle**2) * self._beside
            # Sums of ranks in another order may differ in the last digit.
            as_high = _correlations(self._one_ranks, _ranks_of_draws(other)) >= value - 1e-9
            if as_high.mean() > _TAIL:
                high = middle
            else:
                low = middle
        return low


def _ranks(values: Sequence[float]) -> _Values:
    """From 0; equal values share the mean of their ranks. One row."""
    column = np.asarray(values)[:, None]
    ranks: _Values = (column > column.T).sum(axis=1) + ((column == column.T).sum(axis=1) - 1) / 2
    return ranks[None, :]


def _ranks_of_draws(rows: _Values) -> _Values:
    """Of each row, in which no two values are equal."""
    return rows.argsort(axis=1).argsort(axis=1).astype(np.float64)


def _correlations(one: _Values, other: _Values) -> _Values:
    """Pearson's, of each row of the one with that row of the other."""
    one = one - one.mean(axis=1, keepdims=True)
    other = other - other.mean(axis=1, keepdims=True)
    products = (one * other).sum(axis=1)
    lengths = np.sqrt(np.square(one).sum(axis=1) * np.square(other).sum(axis=1))
    correlations: _Values = products / lengths
    return correlations


def _spearman(pearson: float) -> float:
    """The rank correlation of a normal population (Pearson 1907): 6/pi arcsin(r/2)."""
    return 6 / math.pi * math.asin(pearson / 2)
