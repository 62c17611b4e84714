"""Hypervolume curves, intervals, comparisons and attainment surfaces of simulated searches."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from benchmarks.search_statistics import (
    attainment_surfaces,
    best_known,
    best_of_optuna,
    compare,
    hypervolume_curve,
    median_of,
    trials_to_reach,
)

INFEASIBLE = [math.inf, math.inf]


def test_a_curve_grows_by_the_area_that_each_trial_adds():
    values = np.array([INFEASIBLE, [2.0, 1.0], [3.0, 3.0], [1.0, 2.0], [0.0, 5.0]])
    # Below (4, 4): a rectangle of 2 by 3, nothing, 1 by 2 more, and a point outside.
    assert hypervolume_curve(values, [4.0, 4.0]).tolist() == [0.0, 6.0, 6.0, 8.0, 8.0]


def test_the_best_known_hypervolume_is_that_of_all_runs_together():
    one = np.array([[2.0, 1.0], INFEASIBLE])
    other = np.array([[1.0, 2.0], [3.0, 3.0]])
    assert best_known([one, other], [4.0, 4.0]) == 8.0


def test_without_a_feasible_trial_the_hypervolume_is_0():
    values = np.array([INFEASIBLE, INFEASIBLE])
    assert best_known([values], [4.0, 4.0]) == 0.0
    assert hypervolume_curve(values, [4.0, 4.0]).tolist() == [0.0, 0.0]


def test_intervals_agree_with_those_of_scipy():
    values = np.random.default_rng(1).normal(size=30)
    found = median_of(values)
    expected = bootstrap(
        (values,), np.median, method="percentile", n_resamples=5_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert found.median == np.median(values)
    assert found.low == pytest.approx(expected.low, abs=0.1)
    assert found.high == pytest.approx(expected.high, abs=0.1)
    assert found.low < found.median < found.high


def test_trials_are_counted_from_1():
    curve = np.array([0.0, 0.5, 0.5, 0.7])
    assert trials_to_reach(curve, 0.0) == 1
    assert trials_to_reach(curve, 0.5) == 2
    assert trials_to_reach(curve, 0.6) == 4
    assert trials_to_reach(curve, 0.8) is None


def curve(*steps: tuple[int, float], trials: int = 12) -> list[float]:
    """A curve that has these values from these trials on."""
    values = np.zeros(trials)
    for trial, value in steps:
        values[trial - 1 :] = value
    return values.tolist()


CURVES = {
    "random": np.array([curve((2, 0.3)), curve((2, 0.3)), curve((2, 0.3))]),
    "tpe": np.array([curve((8, 0.6)), curve((12, 0.6)), curve((9, 0.6))]),
    "known-costs": np.array(
        [curve((2, 0.9)), curve((3, 0.31), (4, 0.7)), curve((2, 0.29), (10, 0.5))]
    ),
}


def test_a_sampler_is_compared_with_the_best_of_optuna():
    found = compare("known-costs", CURVES, startup=3, shown=(3, 12), compared_at=6)
    assert best_of_optuna(CURVES, 12) == "tpe"
    assert best_of_optuna(CURVES, 6) == "random"
    assert found.fractions[3].median == 0.31
    assert found.fractions[12].median == 0.7
    # 8 of its trials instead of 2, 12 instead of 4 minus 1, and never.
    assert found.speed_up.median == 3.0
    assert found.unreached == 1
    assert found.speed_up.low == 0.0
    assert found.at_least_as_good == pytest.approx(2 / 3)
    assert found.differences["random"].median == pytest.approx(0.4)
    assert found.differences["tpe"].median == pytest.approx(0.7)
    assert "known-costs" not in found.differences


def test_a_shortfall_counts_only_after_the_start_up():
    found = compare("known-costs", CURVES, startup=3, shown=(12,), compared_at=6)
    # The second seed is below random at trial 2 only, the third one until trial 10.
    assert found.below_random == 1
    assert found.largest_shortfall == pytest.approx(0.01)
    assert found.last_below == 9
    assert compare("tpe", CURVES, startup=3, shown=(12,), compared_at=6).below_random == 3
    of_start = compare("known-costs", CURVES, startup=1, shown=(12,), compared_at=6)
    assert of_start.below_random == 2
    assert of_start.largest_shortfall == pytest.approx(0.3)


def test_without_rivals_nothing_is_compared():
    found = compare(
        "known-costs",
        {"known-costs": CURVES["known-costs"]},
        startup=3,
        shown=(12,),
        compared_at=6,
    )
    assert found.speed_up is None
    assert found.unreached is None
    assert found.at_least_as_good is None
    assert found.below_random is None
    assert found.differences == {}


def test_a_surface_dominates_what_that_percentage_of_the_runs_dominates():
    generator = np.random.default_rng(3)
    runs = [generator.integers(0, 9, size=(4, 2)).astype(float) for _ in range(7)]
    runs.append(np.array([INFEASIBLE]))
    surfaces = attainment_surfaces(runs, [8.0, 8.0])
    assert list(surfaces) == [25, 50, 75]
    for percent, points in surfaces.items():
        needed = math.ceil(percent / 100 * len(runs))
        for place in itertools.product(np.arange(0.0, 8.0), repeat=2):
            attaining = sum((values <= place).all(axis=1).any() for values in runs)
            is_below = any(x <= place[0] and y <= place[1] for x, y in points)
            assert is_below == (attaining >= needed), (percent, place)
