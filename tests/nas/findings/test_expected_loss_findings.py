"""Tests of the sentences about expected losses and about models of long losses."""

import pytest

from nas.findings.expected_loss_findings import (
    expected_loss_document,
    expected_loss_explanation,
    expected_loss_finding,
    long_model_findings,
    selection_finding,
    unexpected_findings,
)
from studies.analysis.expected_losses import ExpectedLoss, ExpectedLosses
from studies.confirmation.candidate_selection import UnexpectedLosses
from studies.confirmation.confirmation_statistics import RankCorrelation
from studies.confirmation.long_loss_model import LongLossModel, PredictedLongLoss

_LOW = ExpectedLoss(measured=1.62, expected=1.71, sd=0.015)
_HIGH = ExpectedLoss(measured=1.8, expected=1.71, sd=0.015)
_USUAL = ExpectedLoss(measured=1.7, expected=1.71, sd=0.015)
_MODEL = ExpectedLosses(candidates=1_001, correlation=0.931, losses={})


def test_a_trial_has_its_expected_loss_with_an_explanation() -> None:
    assert expected_loss_finding(_USUAL) == "expected loss: 1.710 ±0.030 bits/byte"
    assert expected_loss_finding(_LOW).endswith("; the measured loss of 1.620 is unexpectedly low")
    assert expected_loss_finding(_HIGH).endswith("the measured loss of 1.800 is unexpectedly high")
    explanation = expected_loss_explanation(_MODEL)
    assert "1,000 other complete candidates" in explanation
    assert "0.93" in explanation
    assert expected_loss_document(_LOW) == {"value": 1.71, "sd": 0.015, "unexpected": True}
    assert expected_loss_document(None) is None


def test_members_and_runners_up_are_named_with_both_losses() -> None:
    losses = {12: _LOW, **dict.fromkeys(range(20, 26), _HIGH)}
    found = UnexpectedLosses(
        model=_MODEL, expected=losses, members=(12,), runners_up=tuple(range(20, 26))
    )
    members, runners_up, explanation = unexpected_findings(found, confirmed=[12, *range(20, 24)])
    assert members == (
        "Members of the front with an unexpected loss: trial 12 (its loss 1.620 is lower than its "
        "layout suggests, 1.710 ±0.030)."
    )
    assert (
        "trial 20 (its loss 1.800 is higher than its layout suggests, 1.710 ±0.030)" in runners_up
    )
    assert "trial 23" in runners_up
    assert "and 2 more. This confirmation leaves out 2 of these." in runners_up
    assert "1 in 20 losses" in explanation
    nothing = UnexpectedLosses(model=_MODEL, expected={7: _USUAL}, members=(), runners_up=())
    assert list(unexpected_findings(nothing, confirmed=[7])) == []


def test_the_plan_names_the_runners_up_that_come_first() -> None:
    assert selection_finding([5]).startswith("trial 5 comes first among the runners-up: its loss")
    assert selection_finding([5, 7, 9]).startswith("trials 5, 7 and 9 come first among")


@pytest.mark.parametrize(
    ("short", "model", "verdict"),
    [
        (0.82, 0.93, "In this study, the model ranks better; no score is changed"),
        (0.93, 0.82, "In this study, the short losses alone rank better; no score is changed"),
        (0.82, 0.82, "Both rank equally well in this study; no score is changed"),
    ],
)
def test_the_better_ranking_is_stated_with_both_intervals(
    short: float, model: float, verdict: str
) -> None:
    def correlation(value: float) -> RankCorrelation:
        return RankCorrelation(value=value, low=value - 0.2, high=value + 0.05, count=57)

    compared = LongLossModel(
        by_model=correlation(model), by_short_loss=correlation(short), to_confirm=()
    )
    (finding,) = long_model_findings(compared)
    assert verdict in finding
    assert "57 candidates" in finding
    for value in (short, model):
        interval = f"{value - 0.2:.2f} to {value + 0.05:.2f}"
        assert f"{value:.2f} (95 % confidence interval: {interval})" in finding


def test_candidates_to_confirm_next_are_named_with_their_predicted_losses() -> None:
    found = RankCorrelation(value=0.9, low=0.8, high=0.95, count=30)
    worse = RankCorrelation(value=0.8, low=0.7, high=0.9, count=30)
    model = LongLossModel(
        by_model=found,
        by_short_loss=worse,
        to_confirm=(
            PredictedLongLoss(number=7, loss=1.5234),
            PredictedLongLoss(number=3, loss=1.61),
        ),
    )
    _, candidates = long_model_findings(model)
    assert candidates.startswith("Candidates to confirm next")
    assert candidates.endswith(": trial 7 (1.523), trial 3 (1.610).")
