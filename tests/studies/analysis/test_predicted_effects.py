"""Tests of effects against outcomes that a formula of one choice gives."""

import math

import numpy as np
import pytest

from search_space.architecture import Architecture
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.layout_features import layout_features
from search_space.space.space_definition import Space
from studies.analysis.architecture_variants import Contrast, VariantMaker
from studies.analysis.predicted_effects import (
    FEWEST_ARCHITECTURES,
    Effect,
    EffectModel,
    PredictedDifference,
    predicted_effect,
)

SPACE = Space(
    depth=(4, 6),
    width=(128, 192, 256),
    mixers=("c", "a"),
    feed_forward=(1.0, 2.0),
    vocab_size=(1024, 2048, 4096),
    head_dim=(32, 64),
)


@pytest.fixture(scope="module")
def architectures() -> list[Architecture]:
    suggester = RandomSuggester(np.random.default_rng(0))
    return [draw(SPACE, suggester) for _ in range(60)]


def _model(architectures: list[Architecture], noise: float) -> EffectModel:
    """Fit a model to outcomes that fall by 0.1 with each doubling of the vocabulary."""
    generator = np.random.default_rng(1)
    features = np.array([layout_features(each) for each in architectures])
    outcomes = np.array([-0.1 * math.log2(each.vocab_size) for each in architectures])
    outcomes += noise * generator.standard_normal(len(outcomes))
    return EffectModel(features, outcomes, generator)


def _effects(architectures: list[Architecture], noise: float) -> dict[str, Effect]:
    model, generator = _model(architectures, noise), np.random.default_rng(2)
    choices = VariantMaker(SPACE, "int4").of_choices(architectures)
    found = {name: predicted_effect(name, pairs, model, generator) for name, pairs in choices}
    return {name: effect for name, effect in found.items() if effect is not None}


def test_an_effect_is_found_with_its_size_and_no_other(architectures: list[Architecture]) -> None:
    effects = _effects(architectures, noise=0.01)
    assert set(effects) == {"depth", "width", "feed_forward", "vocab_size", "head_dim"}
    assert not any(
        effects[name].summary.is_distinguishable for name in set(effects) - {"vocab_size"}
    )
    steps = {(each.one, each.other): each for each in effects["vocab_size"].comparisons}
    assert len(steps) == 3
    for (one, other), each in steps.items():
        doublings = math.log2(int(other.replace(",", "")) / int(one.replace(",", "")))
        assert each.difference == pytest.approx(-0.1 * doublings, abs=0.02)
        assert each.low < each.difference < each.high < 0
        assert each.architectures == len(architectures)
    assert effects["vocab_size"].summary == steps["1,024", "4,096"]


def test_more_noise_widens_the_intervals(architectures: list[Architecture]) -> None:
    def width(noise: float) -> float:
        summary = _effects(architectures, noise)["vocab_size"].summary
        return summary.high - summary.low

    assert width(0.05) > 2 * width(0.01)


def test_differences_are_averages_over_enough_architectures(
    architectures: list[Architecture],
) -> None:
    model = _model(architectures, noise=0.01)
    pairs = tuple(
        (one, other)
        for one in architectures
        for other in architectures
        if (one.vocab_size, other.vocab_size) == (1024, 4096)
    )
    for count, is_known in ((FEWEST_ARCHITECTURES - 1, False), (FEWEST_ARCHITECTURES, True)):
        contrast = Contrast(one="small", other="large", pairs=pairs[:count])
        effect = predicted_effect("size", [contrast], model, np.random.default_rng(0))
        assert (effect is not None) == is_known
    assert predicted_effect("size", [], model, np.random.default_rng(0)) is None


def test_equal_architectures_do_not_differ(architectures: list[Architecture]) -> None:
    model = _model(architectures, noise=0.01)
    same = Contrast(one="1", other="2", pairs=tuple((each, each) for each in architectures))
    effect = predicted_effect("heads", [same], model, np.random.default_rng(0))
    assert effect is not None
    assert effect.summary.difference == 0
    assert not effect.summary.is_distinguishable


def _comparison(one: str, difference: float, half: float) -> PredictedDifference:
    return PredictedDifference(
        one=one,
        other="other",
        architectures=20,
        difference=difference,
        low=difference - half,
        high=difference + half,
    )


def test_the_summary_is_the_largest_difference_that_is_distinguishable() -> None:
    small, large, doubtful = (
        _comparison("small", -0.1, 0.05),
        _comparison("large", 0.2, 0.1),
        _comparison("doubtful", -0.3, 0.4),
    )
    assert Effect(choice="width", comparisons=(small, large, doubtful)).summary == large
    assert Effect(choice="width", comparisons=(doubtful,)).summary == doubtful
    led = Effect(choice="width", comparisons=(doubtful, large), first_is_summary=True)
    assert led.summary == doubtful
