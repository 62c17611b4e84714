"""Tests of leave-one-out predictions against processes that are fitted without each candidate."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from studies.analysis.left_out_predictions import (
    fitted_line,
    left_out_predictions,
    rank_correlation_of,
)
from studies.samplers.kernel_fit import most_likely


def _data(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, outcomes, and earlier outcomes that explain a part of them."""
    generator = np.random.default_rng(count)
    features = generator.random((count, 6)) * np.arange(1, 7)
    features[:, 5] = 2.0  # a choice without alternatives
    earlier = generator.standard_normal(count)
    outcomes = 2 + np.sin(3 * features[:, 0]) + 0.7 * earlier
    return features, outcomes + 0.1 * generator.standard_normal(count), earlier


def _predictions(count: int, seed: int = 0, **options: object) -> tuple[np.ndarray, np.ndarray]:
    features, outcomes, _ = _data(count)
    generator = np.random.default_rng(seed)
    return left_out_predictions(features, outcomes, generator, **options)  # type: ignore[arg-type]


def _refitted(
    features: np.ndarray,
    outcomes: np.ndarray,
    earlier: np.ndarray | None,
    deviations: np.ndarray,
    *,
    known: int,
    folds: int,
) -> tuple[list[float], list[float]]:
    """Predict each outcome with scikit-learn, from data without it."""
    inputs = (features - features[:known].mean(axis=0)) / (features[:known].std(axis=0) + 1e-300)
    inputs[:, features.std(axis=0) == 0] = 0.0
    first = ConstantKernel(1.0, (0.1, 100.0)) * Matern(np.full(6, 5.0), (0.5, 100.0), nu=2.5)
    kernel = first + WhiteKernel(0.1, (1e-3, 1.0))
    means, sds = [], []
    for index in range(len(outcomes)):
        fold = index % folds if index < known else 0
        kept = [n for n in range(known) if n % folds != fold]
        trend = np.full(len(outcomes), outcomes[kept].mean())
        if earlier is not None:
            trend = np.polyval(np.polyfit(earlier[kept], outcomes[kept], 1), earlier)
        deviation = (outcomes - trend)[kept].std()
        rest = (outcomes - trend) / deviation
        variances = np.square(deviations / deviation) + 1e-8
        fitted = most_likely(kernel, inputs[kept], rest[kept], variances[kept])
        others = [n for n in range(known) if n != index]
        process = GaussianProcessRegressor(fitted, alpha=variances[others], optimizer=None)
        process.fit(inputs[others], rest[others])
        mean, sd = process.predict(inputs[[index]], return_std=True)
        means.append(trend[index] + deviation * mean[0])
        sds.append(deviation * sd[0])
    return means, sds


@pytest.mark.parametrize(
    ("count", "known", "folds", "is_line", "is_doubtful"),
    [
        (23, None, 5, False, False),
        (23, None, 5, True, False),
        (12, None, 12, True, False),
        (20, 15, 5, False, False),
        (23, None, 5, False, True),
        (20, 15, 5, True, True),
    ],
)
def test_predictions_are_those_of_processes_without_the_candidate(
    count: int, known: int | None, folds: int, is_line: bool, is_doubtful: bool
) -> None:
    features, outcomes, earlier = _data(count)
    line = earlier if is_line else None
    deviations = np.where(np.arange(count) % 4 == 1, 0.5, 0.0) if is_doubtful else np.zeros(count)
    found = left_out_predictions(
        features,
        outcomes,
        np.random.default_rng(0),
        known=known,
        deviations_N=deviations if is_doubtful else None,
        earlier_N=line,
        folds=folds,
    )
    expected = _refitted(features, outcomes, line, deviations, known=known or count, folds=folds)
    assert found[0] == pytest.approx(expected[0], abs=1e-5)
    assert found[1] == pytest.approx(expected[1], rel=1e-4)


def test_an_outcome_has_no_influence_on_its_own_prediction() -> None:
    features, outcomes, _ = _data(30)
    before = left_out_predictions(features, outcomes, np.random.default_rng(0))
    outcomes[7] += 50.0
    after = left_out_predictions(features, outcomes, np.random.default_rng(0))
    assert after[0][7] == pytest.approx(before[0][7], abs=1e-6)
    assert after[1][7] == pytest.approx(before[1][7], rel=1e-6)
    assert abs(after[0][8] - before[0][8]) > 1e-3


def test_length_scales_are_fitted_to_some_of_many_candidates() -> None:
    """Any they are, all candidates are predicted well."""
    _, outcomes, earlier = _data(300)
    one, _ = _predictions(300, seed=0, earlier_N=earlier)
    other, _ = _predictions(300, seed=1, earlier_N=earlier)
    assert np.abs(one - other).max() > 0
    for means in (one, other):
        assert np.std(means - outcomes) < 0.2 * np.std(outcomes)


@pytest.mark.parametrize("is_line", [False, True])
def test_equal_candidates_and_equal_outcomes_give_finite_predictions(is_line: bool) -> None:
    line = np.ones(8) if is_line else None
    generator = np.random.default_rng(0)
    for features in (np.ones((8, 3)), generator.random((8, 3))):
        for outcomes in (np.ones(8), np.arange(8.0)):
            means, sds = left_out_predictions(features, outcomes, generator, earlier_N=line)
            assert np.isfinite(means).all()
            assert (sds > 0).all()
            if np.ptp(outcomes) == 0:
                assert means == pytest.approx(outcomes)


def test_a_line_is_that_of_least_squares() -> None:
    one, other = np.random.default_rng(0).random((2, 9))
    assert fitted_line(one, other) == pytest.approx(tuple(np.polyfit(one, other, 1)))
    assert fitted_line(np.ones(3), np.array([1.0, 2.0, 6.0])) == (0.0, 3.0)


def test_the_rank_correlation_is_that_of_scipy_also_with_ties() -> None:
    generator = np.random.default_rng(3)
    one, other = generator.integers(0, 6, (2, 40)).astype(float)
    assert rank_correlation_of(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert rank_correlation_of(np.ones(5), np.arange(5.0)) == 0.0
    assert rank_correlation_of(np.arange(5.0), np.full(5, 2.0)) == 0.0
