"""Sentences about losses that are expected, and about models of the losses of a study."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nas.findings.wording import joined, number, value_text

# Slow to import, and these sentences often are about none of them.
if TYPE_CHECKING:
    from studies.analysis.expected_losses import ExpectedLoss, ExpectedLosses
    from studies.confirmation.candidate_selection import UnexpectedLosses
    from studies.confirmation.confirmation_statistics import RankCorrelation
    from studies.confirmation.long_loss_model import LongLossModel

_MOST_NAMED = 4


def expected_text(loss: "ExpectedLoss") -> str:
    """Format an expected loss with two standard deviations: `1.710 ±0.030`."""
    return value_text(
        loss.expected, loss.expected - loss.half_width, loss.expected + loss.half_width
    )


def expected_loss_finding(loss: "ExpectedLoss") -> str:
    """State the expected loss of a candidate, and whether its measured loss is unexpected."""
    finding = f"expected loss: {expected_text(loss)} bits/byte"
    if not loss.is_unexpected:
        return finding
    return f"{finding}; the measured loss of {number(loss.measured)} is unexpectedly {_side(loss)}"


def expected_loss_document(loss: "ExpectedLoss | None") -> dict[str, float | bool] | None:
    """Return an expected loss for a JSON document; null where there is none."""
    if loss is None:
        return None
    return {"value": loss.expected, "sd": loss.sd, "unexpected": loss.is_unexpected}


def expected_loss_explanation(model: "ExpectedLosses") -> str:
    """Explain what an expected loss is and what it does not change."""
    return (
        f"Expected losses are predicted from the layouts and losses of {model.candidates - 1:,} "
        "other complete candidates (±: two standard deviations; Spearman correlation with the "
        f"measured losses: {model.correlation:.2f}). They change no score."
    )


UNEXPECTED_MEANING = (
    "A loss outside this range is unexpected. Longer training is more likely to change its rank "
    "than that of other losses, in either direction; by chance alone, about 1 in 20 losses is "
    "unexpected."
)


def unexpected_findings(found: "UnexpectedLosses", confirmed: Sequence[int]) -> Iterator[str]:
    """Yield which losses on the front and next to it are unexpected, as sentences.

    Args:
        found: The unexpected losses.
        confirmed: The numbers of the candidates in the confirmation.
    """
    if found.members:
        yield f"Members of the front with an unexpected loss: {_named(found, found.members)}."
    if found.runners_up:
        left_out = sum(each not in confirmed for each in found.runners_up)
        of_these = f" This confirmation leaves out {left_out} of these." if left_out else ""
        yield (
            "Dominated candidates with an unexpected loss that would be on the front with their "
            f"expected loss: {_named(found, found.runners_up)}.{of_these}"
        )
    if found.members or found.runners_up:
        yield f"{expected_loss_explanation(found.model)} {UNEXPECTED_MEANING}"


def selection_finding(first: Sequence[int]) -> str:
    """State which runners-up were selected first, and why."""
    trials = joined([str(each) for each in first])
    if len(first) == 1:
        return (
            f"trial {trials} comes first among the runners-up: its loss is unexpectedly high, and "
            "it would be on the front with its expected loss"
        )
    return (
        f"trials {trials} come first among the runners-up: their losses are unexpectedly high, and "
        "they would be on the front with their expected losses"
    )


def long_model_findings(model: "LongLossModel") -> Iterator[str]:
    """Yield whether a model of the long losses ranks better than the short losses, as sentences."""
    short, corrected = model.by_short_loss, model.by_model
    if corrected.value == short.value:
        verdict = "Both rank equally well in this study"
    else:
        better = "the model ranks" if model.is_better else "the short losses alone rank"
        verdict = f"In this study, {better} better"
    yield (
        f"Spearman correlation with the long losses of {short.count} candidates: "
        f"{correlation_text(short)} for the short losses alone, {correlation_text(corrected)} for "
        "a model that corrects the short losses by layout features and is fitted to the long "
        f"trainings of all other candidates. {verdict}; no score is changed by the model."
    )
    if model.to_confirm:
        named = [f"trial {each.number} ({number(each.loss)})" for each in model.to_confirm]
        yield (
            "Candidates to confirm next, because the model predicts that they are on the front "
            f"(predicted long loss in bits/byte): {', '.join(named)}."
        )


def correlation_text(found: "RankCorrelation") -> str:
    """Format a correlation: `0.82 (95 % confidence interval: 0.71 to 0.90)`."""
    return f"{found.value:.2f} (95 % confidence interval: {found.low:.2f} to {found.high:.2f})"


def _named(found: "UnexpectedLosses", numbers: Sequence[int]) -> str:
    named = [f"trial {each} ({_comparison(found.expected[each])})" for each in numbers]
    more = len(named) - _MOST_NAMED
    return ", ".join(named[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _comparison(loss: "ExpectedLoss") -> str:
    side = "lower" if loss.measured < loss.expected else "higher"
    return (
        f"its loss {number(loss.measured)} is {side} than its layout suggests, "
        f"{expected_text(loss)}"
    )


def _side(loss: "ExpectedLoss") -> str:
    return "low" if loss.measured < loss.expected else "high"
