"""Early stopping for several objectives: which candidates cannot reach the front."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evaluators.evaluator import CurvePoint


@dataclass(frozen=True, slots=True, kw_only=True)
class RungResult:
    """The objectives of a candidate at a rung.

    Attributes:
        loss: The loss at the rung, in bits per byte. All candidates have read the same number of
            tokens there.
        others: The other objectives, in the order of the study. They are known before training
            begins. For a candidate that may be stopped, each is the lower bound of its confidence
            interval, if there is one, so that a rival whose lead is within measurement noise does
            not stop it.
    """

    loss: float
    others: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finisher:
    """A complete candidate.

    Attributes:
        number: The number of its trial.
        rung_result: Its objectives at the rung.
        final_loss: Its loss at the end of training, in bits per byte.
    """

    number: int
    rung_result: RungResult
    final_loss: float


def dominating_finisher(
    candidate: RungResult, finishers: Iterable[Finisher], margin: float
) -> Finisher | None:
    """Return the finisher that shows that a candidate cannot reach the front.

    Such a finisher is at least as good in every other objective, and its loss at the rung was lower
    by more than the margin. A candidate that is best in any objective is therefore never stopped,
    whatever the order in which candidates are evaluated.

    Args:
        candidate: The candidate at the rung.
        finishers: The complete candidates at the same rung.
        margin: The difference in loss, in bits per byte, that must be exceeded.

    Returns:
        The finisher with the lowest loss at the rung, or None if the candidate may still reach the
        front.
    """
    better = (
        finisher
        for finisher in finishers
        if candidate.loss - finisher.rung_result.loss > margin
        and _at_least_as_good(finisher.rung_result, candidate)
    )
    return min(better, key=lambda rival: (rival.rung_result.loss, rival.number), default=None)


def estimated_loss(candidate: RungResult, rival: Finisher) -> float:
    """Estimate the final loss of a stopped candidate.

    The estimate assumes that its distance to the rival stays the same until the end of training.

    Args:
        candidate: The candidate at the rung.
        rival: The finisher that stopped it.
    """
    return rival.final_loss + candidate.loss - rival.rung_result.loss


def loss_after(curve: Sequence[CurvePoint], tokens: float) -> float | None:
    """Return the first loss measured at or after a number of tokens.

    Args:
        curve: The learning curve, in any order.
        tokens: The number of training tokens.

    Returns:
        The loss in bits per byte, or None if the curve ends before.
    """
    reached = (point for point in curve if point.tokens >= tokens)
    first = min(reached, key=lambda point: point.tokens, default=None)
    return None if first is None else first.loss


def _at_least_as_good(rival: RungResult, candidate: RungResult) -> bool:
    return all(a <= b for a, b in zip(rival.others, candidate.others, strict=True))
