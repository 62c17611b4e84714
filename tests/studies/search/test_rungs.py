"""Which candidates are stopped at a rung, and which never are."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.evaluator import CurvePoint
from studies.search.rungs import (
    Finisher,
    RungResult,
    dominating_finisher,
    estimated_loss,
    loss_after,
)

# Few distinct numbers, so that ties are common.
_VALUES = st.integers(0, 4).map(float)
_RUNG_RESULTS = st.builds(RungResult, loss=_VALUES, others=st.tuples(_VALUES, _VALUES))
_FINISHERS = st.lists(_RUNG_RESULTS, max_size=8).map(
    lambda rung_results: [
        Finisher(number=number, rung_result=rung_result, final_loss=rung_result.loss - 0.5)
        for number, rung_result in enumerate(rung_results)
    ]
)
_MARGINS = st.sampled_from([0.0, 0.5, 1.0])


def _finisher(loss: float, *others: float, number: int = 0, final_loss: float = 1.0) -> Finisher:
    rung_result = RungResult(loss=loss, others=others)
    return Finisher(number=number, rung_result=rung_result, final_loss=final_loss)


@pytest.mark.parametrize(
    ("loss", "others", "stopped"),
    [
        (2.5, (10.0, 5.0), True),  # equal in the others, worse in loss
        (2.5, (12.0, 7.0), True),  # worse everywhere
        (2.5, (9.9, 7.0), False),  # slightly faster
        (2.125, (12.0, 7.0), False),  # worse by no more than the margin
        (2.0, (12.0, 7.0), False),  # equal in loss
    ],
)
def test_stops_what_is_worse_in_loss_and_better_in_nothing(
    loss: float, others: tuple[float, ...], stopped: bool
) -> None:
    rival = _finisher(2.0, 10.0, 5.0)
    found = dominating_finisher(RungResult(loss=loss, others=others), [rival], margin=0.125)
    assert found == (rival if stopped else None)


@given(_RUNG_RESULTS, _FINISHERS, _MARGINS)
def test_the_lowest_loss_is_never_stopped(
    candidate: RungResult, finishers: list[Finisher], margin: float
) -> None:
    best = min([candidate.loss, *(each.rung_result.loss for each in finishers)])
    leader = RungResult(loss=best, others=candidate.others)
    assert dominating_finisher(leader, finishers, margin) is None


@given(_RUNG_RESULTS, _FINISHERS, _MARGINS, st.integers(0, 1))
def test_the_best_in_another_objective_is_never_stopped(
    candidate: RungResult, finishers: list[Finisher], margin: float, index: int
) -> None:
    best = min([candidate.others[index], *(f.rung_result.others[index] for f in finishers)])
    others = list(candidate.others)
    others[index] = best - 1
    fastest = RungResult(loss=candidate.loss, others=tuple(others))
    assert dominating_finisher(fastest, finishers, margin) is None


@given(_RUNG_RESULTS, _FINISHERS, _MARGINS, st.randoms())
def test_the_order_of_the_others_does_not_matter(
    candidate: RungResult, finishers: list[Finisher], margin: float, generator: random.Random
) -> None:
    shuffled = generator.sample(finishers, len(finishers))
    assert dominating_finisher(candidate, shuffled, margin) == dominating_finisher(
        candidate, finishers, margin
    )


@given(_RUNG_RESULTS, _FINISHERS, _MARGINS)
def test_a_stopped_candidate_is_estimated_to_be_dominated(
    candidate: RungResult, finishers: list[Finisher], margin: float
) -> None:
    rival = dominating_finisher(candidate, finishers, margin)
    if rival is not None:
        assert estimated_loss(candidate, rival) - rival.final_loss > margin
        assert all(
            theirs <= ours
            for theirs, ours in zip(rival.rung_result.others, candidate.others, strict=True)
        )


def test_the_loss_is_that_of_the_first_point_at_or_after_the_tokens() -> None:
    curve = [CurvePoint(tokens=tokens, loss=5.0 - tokens / 100) for tokens in (300, 100, 200)]
    assert loss_after(curve, 150) == 3.0
    assert loss_after(curve, 100) == 4.0
    assert loss_after(curve, 301) is None
    assert loss_after([], 1) is None
