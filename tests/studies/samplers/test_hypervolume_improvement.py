"""Tests of the expected hypervolume improvement, against moocore and random draws."""

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.samplers.hypervolume_improvement import expected_improvement, front_levels


@given(seed=st.integers(0, 10_000), trials=st.integers(0, 12), costs=st.integers(1, 3))
def test_without_uncertainty_it_is_the_gain_in_hypervolume(
    seed: int, trials: int, costs: int
) -> None:
    generator = np.random.default_rng(seed)
    # Few values, so that many costs and outcomes are equal.
    table = generator.integers(0, 5, (trials, costs + 1)) / 4
    points = generator.integers(0, 5, (6, costs + 1)) / 4
    reference = np.full(costs + 1, 0.9)
    front = front_levels(table[:, :-1], table[:, -1], reference)
    improvement = expected_improvement(front, points[:, :-1], points[:, -1], np.zeros(6))
    before = moocore.hypervolume(table, ref=reference) if trials else 0.0
    gains = [
        moocore.hypervolume(np.vstack([table, point]), ref=reference) - before for point in points
    ]
    assert improvement == pytest.approx(gains, abs=1e-12)


@pytest.mark.parametrize("costs", [1, 2])
def test_it_is_the_mean_gain_of_random_outcomes(costs: int) -> None:
    generator = np.random.default_rng(0)
    table = generator.random((8, costs + 1))
    reference = np.full(costs + 1, 1.1)
    front = front_levels(table[:, :-1], table[:, -1], reference)
    cost, mean, deviation = generator.random((1, costs)) * 0.5, 0.2, 0.3
    outcomes = mean + deviation * generator.standard_normal(4_000)
    sure = expected_improvement(
        front, np.repeat(cost, len(outcomes), axis=0), outcomes, np.zeros(len(outcomes))
    )
    expected = expected_improvement(front, cost, np.array([mean]), np.array([deviation]))
    standard_error = sure.std() / np.sqrt(len(sure))
    assert expected[0] == pytest.approx(sure.mean(), abs=4 * standard_error)


def test_many_candidates_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    table = generator.random((5, 3))
    front = front_levels(table[:, :-1], table[:, -1], np.ones(3))
    arguments = generator.random((50, 2)), generator.random(50), generator.random(50)
    whole = expected_improvement(front, *arguments)
    monkeypatch.setattr("studies.samplers.hypervolume_improvement._CELLS_AT_A_TIME", 100)
    assert np.array_equal(expected_improvement(front, *arguments), whole)
