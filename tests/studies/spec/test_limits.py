"""Which scores are certainly above their limits, which may be, and how that is reported."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.calibration import WIDEST_SETTLED, CalibrationKey
from evaluators.evaluator import CalibratedRatio, Score
from studies.spec.limits import excesses, judge, limits
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Constraint, Objective
from tests.studies.fakes import small_spec

_KEY = CalibrationKey(device="board", reference="ab", workload="tg64@1024")


def limited(decode: float | None = None, memory: float | None = None) -> StudySpec:
    constraints = () if memory is None else (Constraint(name="memory", max=memory),)
    return small_spec(
        "sqlite:///nas.db",
        objectives=(Objective(name="loss"), Objective(name="decode", max=decode)),
        constraints=constraints,
    )


def decode(value: float, low: float | None = None, high: float | None = None) -> Score:
    return Score(name="decode", value=value, unit="ms/token", low=low, high=high)


def memory(value: float) -> Score:
    return Score(name="memory", value=value, unit="MB")


def calibrated(value: float, *, ratio_error: float, calibration_error: float) -> Score:
    """Return a time, with the halves of the widths of its two intervals as fractions."""
    both = math.hypot(ratio_error, calibration_error)
    ratio = value / 7.0
    return replace(
        decode(value, value * math.exp(-both), value * math.exp(both)),
        measured=CalibratedRatio(
            calibration=_KEY,
            ratio=ratio,
            low=ratio * math.exp(-ratio_error),
            high=ratio * math.exp(ratio_error),
        ),
    )


@pytest.mark.parametrize(
    ("score", "exceeded", "unsure"),
    [
        (decode(9.0, 8.8, 9.2), False, False),
        (decode(9.9, 9.7, 10.1), False, True),  # within the limit, perhaps
        (decode(10.0, 9.8, 10.0), False, False),  # at the limit
        (decode(10.2, 9.9, 10.5), False, True),  # above the limit, perhaps
        (decode(10.2, 10.0, 10.4), False, True),  # the interval touches the limit
        (decode(10.2, 10.1, 10.3), True, False),
        (decode(99.0), False, True),  # a time without an interval
        (decode(9.0), False, False),
        (replace(decode(99.0, 98.0, 100.0), provisional=True), False, True),
        (replace(decode(9.0, 5.0, 13.0), provisional=True), False, True),
        (calibrated(12.0, ratio_error=0.02, calibration_error=0.09), True, False),
        (calibrated(99.0, ratio_error=0.02, calibration_error=0.11), False, True),
        (calibrated(99.0, ratio_error=0.30, calibration_error=0.09), True, False),
        (calibrated(9.0, ratio_error=0.02, calibration_error=0.03), False, False),
    ],
)
def test_a_time_exceeds_its_limit_only_if_its_whole_interval_does(
    score: Score, exceeded: bool, unsure: bool
) -> None:
    found = judge(limited(decode=10.0), [score])
    assert found.exceeded == ({"decode": score.low} if exceeded else {})
    assert found.unsure == (("decode",) if unsure else ())
    assert (found.reason is not None) == exceeded


def test_a_score_without_an_interval_that_is_no_time_is_compared_by_its_value() -> None:
    spec = limited(memory=500.0)
    assert judge(spec, [memory(500.0)]).exceeded == {}
    assert judge(spec, [memory(500.1)]).exceeded == {"memory": 500.1}
    assert judge(spec, [memory(500.1)]).unsure == ()


def test_scores_without_a_limit_are_ignored() -> None:
    found = judge(limited(), [decode(1e6, 9e5, 2e6), memory(1e9)])
    assert (found.exceeded, found.unsure, found.reason) == ({}, (), None)


def test_the_sentence_has_the_value_the_interval_and_the_limit() -> None:
    spec = limited(decode=10.0, memory=500.0)
    found = judge(spec, [memory(1_512.25), decode(12.345, 12.0, 12.5)])
    assert found.reason == (
        "memory: 1,512 MB is above the limit of 500 MB; "
        "decode: 12.35 (12 to 12.5) ms/token is above the limit of 10 ms/token"
    )


def test_a_limit_of_a_score_without_a_unit() -> None:
    spec = small_spec("sqlite:///nas.db", constraints=(Constraint(name="parameters", max=2e6),))
    found = judge(spec, [Score(name="parameters", value=3_000_000.0, unit="")])
    assert found.reason == "parameters: 3,000,000 is above the limit of 2,000,000"


def test_limits_are_those_of_objectives_and_constraints() -> None:
    assert limits(limited()) == {}
    assert limits(limited(decode=10.0, memory=500.0)) == {"decode": 10.0, "memory": 500.0}


def test_excesses_are_fractions_of_the_limits() -> None:
    spec = limited(decode=10.0, memory=500.0)
    assert excesses(spec, {"decode": 12.0, "loss": 9.0}) == {"decode": pytest.approx(0.2)}
    assert excesses(spec, {"memory": 500.0}) == {"memory": 0.0}


_ERRORS = st.floats(0.0, 2 * WIDEST_SETTLED)
_TIMES = st.one_of(
    st.builds(
        calibrated,
        st.floats(1.0, 100.0),
        ratio_error=_ERRORS,
        calibration_error=_ERRORS,
    ),
    st.floats(1.0, 100.0).map(decode),
).flatmap(lambda score: st.booleans().map(lambda flag: replace(score, provisional=flag)))


@given(_TIMES, st.floats(1.0, 100.0), st.floats(1.0, 100.0))
def test_a_higher_limit_is_never_harder_to_keep(score: Score, one: float, other: float) -> None:
    strict = judge(limited(decode=min(one, other)), [score])
    generous = judge(limited(decode=max(one, other)), [score])
    assert set(generous.exceeded) <= set(strict.exceeded)
    in_doubt = [set(each.exceeded) | set(each.unsure) for each in (strict, generous)]
    assert in_doubt[1] <= in_doubt[0]


@given(_TIMES, st.floats(1.0, 100.0))
def test_a_refusal_needs_a_settled_score_whose_interval_is_above_the_limit(
    score: Score, limit: float
) -> None:
    found = judge(limited(decode=limit), [score])
    assert not set(found.exceeded) & set(found.unsure)
    if found.exceeded:
        assert not score.provisional
        assert score.low is not None
        assert score.low > limit
