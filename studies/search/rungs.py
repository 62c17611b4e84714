"""Early stopping for several objectives: who is behind at a rung and cannot catch up elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evaluators.evaluator import CurvePoint


@dataclass(frozen=True, slots=True, kw_only=True)
class RungResult:
    """A candidate at a rung.

    loss: at the rung, after as much training as everyone else has had there.
    others: its other objectives, in the study's order; they are known before training begins. Of
        one that is judged, the lower end of its interval, where there is one: whoever is ahead by
        less than the noise of a measurement does not stop it.
    """

    loss: float
    others: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finisher:
    """A complete candidate: its number, where it stood at the rung, and its loss at the end."""

    number: int
    rung_result: RungResult
    final_loss: float


def beaten_by(
    candidate: RungResult, finishers: Iterable[Finisher], margin: float
) -> Finisher | None:
    """The finisher that shows that this candidate cannot reach the front, or None.

    It is at least as good in every other objective, and its loss at this rung was lower by more
    than `margin`; of several, the one of lowest loss. So a candidate that is best in any objective
    goes on, whatever the order in which the others came.
    """
    better = (
        finisher
        for finisher in finishers
        if candidate.loss - finisher.rung_result.loss > margin
        and _at_least_as_good(finisher.rung_result, candidate)
    )
    return min(better, key=lambda rival: (rival.rung_result.loss, rival.number), default=None)


def estimated_loss(candidate: RungResult, rival: Finisher) -> float:
    """What a stopped candidate would have come to, had it stayed as far behind as it was."""
    return rival.final_loss + candidate.loss - rival.rung_result.loss


def loss_after(curve: Sequence[CurvePoint], tokens: float) -> float | None:
    """The first loss read after at least so many tokens; None where the curve ends before."""
    reached = (point for point in curve if point.tokens >= tokens)
    first = min(reached, key=lambda point: point.tokens, default=None)
    return None if first is None else first.loss


def _at_least_as_good(rival: RungResult, candidate: RungResult) -> bool:
    return all(a <= b for a, b in zip(rival.others, candidate.others, strict=True))
