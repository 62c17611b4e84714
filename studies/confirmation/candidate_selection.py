"""Selects the candidates of a study to confirm, and finds those whose losses are unexpected."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.scores import LOSS
from studies.analysis.expected_losses import ExpectedLoss, ExpectedLosses
from studies.analysis.study_front import Front, objective_values
from studies.confirmation.confirmation_statistics import FEWEST_RANKED
from studies.records import ScoredPoint, scored_point

_DEFAULT_COUNT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class UnexpectedLosses:
    """The candidates whose losses differ from what their layouts suggest.

    Attributes:
        model: How well expected losses agree with measured ones in the study.
        expected: The expected loss of each complete candidate, by number.
        members: The numbers of the members of the front with an unexpected loss, in their order on
            the front.
        runners_up: The numbers of the dominated candidates with an unexpected loss that would be on
            the front with their expected loss, sorted by number.
    """

    model: ExpectedLosses
    expected: Mapping[int, ExpectedLoss]
    members: tuple[int, ...]
    runners_up: tuple[int, ...]


def unexpected_losses(front: Front, model: ExpectedLosses) -> UnexpectedLosses:
    """Find the unexpected losses that matter for a front.

    Args:
        front: The front of the study, of which loss is an objective.
        model: The expected losses of the study.
    """
    names = [axis.name for axis in front.axes]
    points = complete_points(front)
    expected = {
        point.number: model.losses[point.architecture]
        for point in points
        if point.architecture in model.losses
    }
    unexpected = {number for number, loss in expected.items() if loss.is_unexpected}
    # A provisional candidate dominates none, and what a dominated one dominates, a member does too.
    settled = [trial for trial in front.members if not trial.provisional(names)]
    rivals = np.array([objective_values(trial, names) for trial in settled])
    rivals = rivals.reshape(len(settled), len(names))

    def would_be_on_front(point: ScoredPoint) -> bool:
        values = {**point.values, LOSS: expected[point.number].expected}
        own = np.array([values[name] for name in names])
        return not bool(((rivals <= own).all(axis=1) & (rivals < own).any(axis=1)).any())

    return UnexpectedLosses(
        model=model,
        expected=expected,
        members=tuple(trial.number for trial in front.members if trial.number in unexpected),
        runners_up=tuple(
            point.number
            for point in front.dominated
            if point.number in unexpected and would_be_on_front(point)
        ),
    )


def candidates_to_confirm(
    front: Front, count: int | None = None, first: Collection[int] = ()
) -> tuple[int, ...]:
    """Select the candidates to confirm: members of the front, then its runners-up.

    The runners-up are those in `first`, followed by the dominated candidates closest to the front:
    those whose loss would have to decrease least for them to be non-dominated.

    Args:
        front: The front of the study.
        count: The number of candidates. If the front has more members, they are selected evenly
            along the front, including both ends. None selects the whole front and fills up to eight
            candidates with runners-up.
        first: The numbers of the dominated candidates that come first among the runners-up, those
            closest to the front before the others.

    Returns:
        The numbers of the candidates.

    Raises:
        ValueError: Loss is not an objective, or fewer than three candidates are complete.
    """
    if LOSS not in [axis.name for axis in front.axes]:
        raise ValueError(f"objectives: '{front.study}' lacks loss, which a confirmation requires")
    complete = complete_points(front)
    if len(complete) < FEWEST_RANKED:
        raise ValueError(
            f"study: '{front.study}' has {len(complete)} complete candidates, but ranking requires "
            f"at least {FEWEST_RANKED}"
        )
    members = [trial.number for trial in front.members]
    size = max(_DEFAULT_COUNT, len(members)) if count is None else count
    if size <= len(members):
        last = max(1, size - 1)
        return tuple(members[round(n * (len(members) - 1) / last)] for n in range(size))
    others = [axis.name for axis in front.axes if axis.name != LOSS]
    distances = {point.number: _distance(point, complete, others) for point in front.dominated}
    runners_up = sorted(
        distances, key=lambda number: (number not in first, distances[number], number)
    )
    return (*members, *runners_up[: size - len(members)])


def complete_points(front: Front) -> list[ScoredPoint]:
    """Return the complete candidates of a study, the members of the front first."""
    return [*map(scored_point, front.members), *front.dominated]


def _distance(point: ScoredPoint, complete: Sequence[ScoredPoint], others: Sequence[str]) -> float:
    """Return how far the loss is above the lowest loss at these other objectives or better."""
    losses = (
        each.values[LOSS]
        for each in complete
        if all(each.values[name] <= point.values[name] for name in others)
    )
    return point.values[LOSS] - min(losses)
