"""Differences between predicted outcomes of variants, with simultaneous intervals.

Shapes: N points, D features.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_space.space.layout_features import layout_features
from studies.analysis.architecture_variants import Contrast
from studies.samplers.outcome_model import OutcomeModel

# An average over fewer architectures need not hold for others.
FEWEST_ARCHITECTURES = 10

# The number of random halves of the candidates to which the length scales are fitted.
_HALVES = 20
_DRAWS = 2_000
_COVERAGE = 0.95
# In simulated studies with known effects, errors were a fifth larger than the draws suggest,
# because the prior favours small effects and shrinks all estimates towards 0.
_WIDENING = 1.2
# In units of the outcome; differences between equal architectures are not exactly 0 in draws.
_LEAST_DEVIATION = 1e-9
_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedDifference:
    """The difference between the outcomes of two values of a choice, all else being equal.

    Attributes:
        one: The first value.
        other: The second value.
        architectures: The number of architectures over which the difference is averaged.
        difference: The mean outcome with `other` minus that with `one`, in the outcome's unit.
        low: The lower bound of its 95 % interval, which is simultaneous for all comparisons of an
            effect.
        high: The upper bound.
    """

    one: str
    other: str
    architectures: int
    difference: float
    low: float
    high: float

    @property
    def is_distinguishable(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The differences that follow from one choice.

    Attributes:
        choice: The choice, such as "vocab_size".
        comparisons: All pairs of values that enough architectures can have, at least one.
        first_is_summary: Whether the first comparison summarises the others.
    """

    choice: str
    comparisons: tuple[PredictedDifference, ...]
    first_is_summary: bool = False

    @property
    def summary(self) -> PredictedDifference:
        """The comparison that stands for the effect.

        It is the first one if `first_is_summary`. Otherwise it is the largest one whose interval
        excludes 0, or the largest of all if no interval does.
        """
        if self.first_is_summary:
            return self.comparisons[0]
        known = [each for each in self.comparisons if each.is_distinguishable]
        return max(known or self.comparisons, key=lambda each: abs(each.difference))


class EffectModel:
    """The posterior distribution of the outcomes of architectures, given those of candidates.

    The length scales of a Gaussian process are uncertain if there are few candidates. Intervals
    that neglect this are too narrow. The length scales are therefore fitted to several random
    halves of the candidates, and each of these models contributes the same number of draws. Between
    halves, estimates scatter as they would between whole studies (the delete-half jackknife; Shao
    and Wu, "A General Theory for Jackknife Variance Estimation", Annals of Statistics, 1989).
    """

    def __init__(
        self, features_ND: _Numbers, outcomes_N: _Numbers, generator: np.random.Generator
    ) -> None:
        """Fit the models.

        Args:
            features_ND: The features of the candidates.
            outcomes_N: Their outcomes.
            generator: Chooses the halves.
        """
        none_N = np.zeros(len(outcomes_N))
        half = len(outcomes_N) // 2
        self._models = [
            OutcomeModel(features_ND, outcomes_N, none_N, generator, most_fitted=half)
            for _ in range(_HALVES)
        ]

    def draw(self, features_ND: _Numbers, generator: np.random.Generator) -> _Numbers:
        """Draw the true outcomes of several points together, (draws, N)."""
        count = _DRAWS // _HALVES
        return np.concatenate([model.draw(features_ND, count, generator) for model in self._models])


def predicted_effect(
    choice: str, contrasts: Iterable[Contrast], model: EffectModel, generator: np.random.Generator
) -> Effect | None:
    """Estimate the differences between values of a choice.

    The intervals come from joint draws of all outcomes. They are wide enough that, with a
    probability of 95 %, all of them contain the true differences, so that the largest one may be
    selected.

    Args:
        choice: The name of the choice.
        contrasts: The pairs of values. Those with fewer than `FEWEST_ARCHITECTURES` pairs of
            architectures are ignored.
        model: The model of the outcome.
        generator: The source of randomness for the draws.

    Returns:
        The effect, or None if no contrast has enough architectures.
    """
    known = [each for each in contrasts if len(each.pairs) >= FEWEST_ARCHITECTURES]
    if not known:
        return None
    involved = (each for contrast in known for pair in contrast.pairs for each in pair)
    columns = {each: column for column, each in enumerate(dict.fromkeys(involved))}
    drawn = model.draw(np.array([layout_features(each) for each in columns]), generator)

    def mean_of(contrast: Contrast, end: int) -> _Numbers:
        return np.asarray(drawn[:, [columns[pair[end]] for pair in contrast.pairs]].mean(axis=1))

    differences = np.array([mean_of(each, 1) - mean_of(each, 0) for each in known])
    means = differences.mean(axis=1)
    deviations = np.maximum(differences.std(axis=1), _LEAST_DEVIATION)
    errors = np.abs(differences - means[:, None]) / deviations[:, None]
    factor = _WIDENING * float(np.quantile(errors.max(axis=0), _COVERAGE))
    half_widths = factor * deviations
    return Effect(
        choice=choice,
        comparisons=tuple(
            PredictedDifference(
                one=contrast.one,
                other=contrast.other,
                architectures=len(contrast.pairs),
                difference=float(mean),
                low=float(mean - half),
                high=float(mean + half),
            )
            for contrast, mean, half in zip(known, means, half_widths, strict=True)
        ),
    )
