"""Who is stopped at a rung, and who never is."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.evaluator import CurvePoint
from studies.search.rungs import Finisher, RungResult, beaten_by, estimated_loss, loss_after

# Few distinct numbers, so that ties are common.
_VALUES = st.integers(0, 4).map(float)
_STANDINGS = st.builds(RungResult, loss=_VALUES, others=st.tuples(_VALUES, _VALUES))
_FIELDS = st.lists(_STANDINGS, max_size=8).map(
    lambda standings: [
        Finisher(number=number, rung_result=rung_result, final_loss=rung_result.loss - 0.5)
        for number, rung_result in enumerate(standings)
    ]
)
_MARGINS = st.sampled_from([0.0, 0.5, 1.0])


def _finisher(loss: float, *others: float, number: int = 0, final_loss: float = 1.0) -> Finisher:
    rung_result = RungResult(loss=loss, others=others)
    return Finisher(number=number, rung_result=rung_result, final_loss=final_loss)


@pytest.mark.parametrize(
    ("loss", "others", "stopped"),
    [
        (2.5, (10.0, 5.0), True),  # as good elsewhere, behind in loss
        (2.5, (12.0, 7.0), True),  # worse everywhere
        (2.5, (9.9, 7.0), False),  # a little faster
        (2.125, (12.0, 7.0), False),  # behind, by no more than the margin
        (2.0, (12.0, 7.0), False),  # as good in loss
    ],
)
def test_stops_what_is_behind_in_loss_and_ahead_in_nothing(
    loss: float, others: tuple[float, ...], stopped: bool
) -> None:
    rival = _finisher(2.0, 10.0, 5.0)
    found = beaten_by(RungResult(loss=loss, others=others), [rival], margin=0.125)
    assert found == (rival if stopped else None)


@given(_STANDINGS, _FIELDS, _MARGINS)
def test_the_lowest_loss_goes_on(
    candidate: RungResult, finishers: list[Finisher], margin: float
) -> None:
    best = min([candidate.loss, *(each.rung_result.loss for each in finishers)])
    leader = RungResult(loss=best, others=candidate.others)
    assert beaten_by(leader, finishers, margin) is None


@given(_STANDINGS, _FIELDS, _MARGINS, st.integers(0, 1))
def test_whoever_is_best_in_another_objective_goes_on(
    candidate: RungResult, finishers: list[Finisher], margin: float, index: int
) -> None:
    best = min([candidate.others[index], *(f.rung_result.others[index] for f in finishers)])
    others = list(candidate.others)
    others[index] = best - 1
    fastest = RungResult(loss=candidate.loss, others=tuple(others))
    assert beaten_by(fastest, finishers, margin) is None


@given(_STANDINGS, _FIELDS, _MARGINS, st.randoms())
def test_the_order_of_the_others_does_not_matter(
    candidate: RungResult, finishers: list[Finisher], margin: float, generator: random.Random
) -> None:
    shuffled = generator.sample(finishers, len(finishers))
    assert beaten_by(candidate, shuffled, margin) == beaten_by(candidate, finishers, margin)


@given(_STANDINGS, _FIELDS, _MARGINS)
def test_a_stopped_candidate_is_estimated_to_be_dominated(
    candidate: RungResult, finishers: list[Finisher], margin: float
) -> None:
    rival = beaten_by(candidate, finishers, margin)
    if rival is not None:
        assert estimated_loss(candidate, rival) - rival.final_loss > margin
        assert all(
            theirs <= ours
            for theirs, ours in zip(rival.rung_result.others, candidate.others, strict=True)
        )


def test_a_loss_is_read_at_the_first_point_that_is_late_enough() -> None:
    curve = [CurvePoint(tokens=tokens, loss=5.0 - tokens / 100) for tokens in (300, 100, 200)]
    assert loss_after(curve, 150) == 3.0
    assert loss_after(curve, 100) == 4.0
    assert loss_after(curve, 301) is None
    assert loss_after([], 1) is None
