"""Tests of the sentences about the effects of choices."""

from dataclasses import replace

import pytest

from nas.findings.choice_findings import change_text, difference_text, effect_findings
from studies.analysis.choice_effects import (
    ANY_NUMBER,
    MORE_ATTENTION,
    POSITION,
    ChoiceEffects,
)
from studies.analysis.predicted_effects import Effect, PredictedDifference


def compared(one: str, other: str, difference: float, half: float) -> PredictedDifference:
    return PredictedDifference(
        one=one,
        other=other,
        architectures=40,
        difference=difference,
        low=difference - half,
        high=difference + half,
    )


EFFECTS = ChoiceEffects(
    objective="loss",
    unit="bits/byte",
    candidates=147,
    correlation=0.9,
    effects=(
        Effect(choice="width", comparisons=(compared("256", "448", -0.029, 0.02),)),
        Effect(choice="kernel", comparisons=(compared("3", "7", 0.01, 0.02),)),
        Effect(choice="vocab_size", comparisons=(compared("8,192", "32,768", -0.0952, 0.0091),)),
        Effect(choice="window", comparisons=(compared("64", "128", 0.0003, 0.0014),)),
        Effect(choice=POSITION, comparisons=(compared("first third", "even", 0.012, 0.004),)),
    ),
    more_attention=Effect(
        choice=MORE_ATTENTION,
        comparisons=(
            compared(*ANY_NUMBER, 0.0241, 0.0079),
            compared("1", "2 layers", -0.001, 0.02),
            compared("3", "4 layers", 0.0258, 0.013),
        ),
        first_is_summary=True,
    ),
)


def test_the_largest_effects_come_first_and_the_others_in_one_sentence() -> None:
    assert list(effect_findings(EFFECTS)) == [
        "a model of loss, fitted to 147 candidates, ranks candidates that it has not seen with a "
        "Spearman correlation of 0.90",
        "loss falls by 0.095 (0.086 to 0.104) bits/byte from vocab_size = 8,192 to 32,768",
        "loss falls by 0.029 (0.009 to 0.049) bits/byte from width = 256 to 448",
        "loss is 0.012 (0.008 to 0.016) bits/byte lower with the attention layers in the first "
        "third of the layers than spread evenly",
        "no effect of kernel and window on loss can be distinguished from chance",
        "one more attention layer at equal estimated decoding time, with narrower feed-forwards, "
        "raises loss by 0.024 (0.016 to 0.032) bits/byte on average (by number of attention "
        "layers: +0.026 from 3 to 4 layers)",
    ]


def test_attention_without_an_effect_is_not_distinguishable() -> None:
    effect = Effect(
        choice=MORE_ATTENTION,
        comparisons=(compared(*ANY_NUMBER, 0.002, 0.003), compared("3", "4 layers", 0.03, 0.01)),
        first_is_summary=True,
    )
    *_, last = effect_findings(replace(EFFECTS, more_attention=effect))
    assert last.endswith("has no effect on loss that can be distinguished from chance")


def test_a_loss_that_cannot_be_predicted_is_the_only_finding() -> None:
    found = replace(EFFECTS, correlation=0.31, effects=(), more_attention=None)
    assert list(effect_findings(found)) == [
        "the candidates do not show in which direction the choices change loss: a model of loss, "
        "fitted to 147 candidates, ranks candidates that it has not seen with a Spearman "
        "correlation of 0.31, and at least 0.5 is required"
    ]


@pytest.mark.parametrize(
    ("difference", "half", "expected"),
    [
        (-0.0952, 0.0091, "-0.095 (-0.104 to -0.086)"),
        (0.0167, 0.0166, "+0.0167 (+0.0001 to +0.0333)"),
        (12.0, 3.0, "+12 (+9 to +15)"),
        (0.0, 0.0, "+0.000000 (+0.000000 to +0.000000)"),
    ],
)
def test_a_difference_has_as_many_decimals_as_its_interval(
    difference: float, half: float, expected: str
) -> None:
    assert difference_text(compared("1", "2", difference, half)) == expected


def test_a_change_goes_from_one_value_to_the_other() -> None:
    assert change_text(compared("8,192", "32,768", 0.1, 0.01)) == "8,192 -> 32,768"
