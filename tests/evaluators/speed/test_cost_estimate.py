"""Tests of estimates from few measurements."""

import numpy as np
import pytest

from evaluators.speed.cost_estimate import FEWEST_MEASUREMENTS, CostEstimate

PARTS = ("matrices", "caches", "once")
COSTS = np.array([3e-6, 1e-6, 0.2])


def _models(count: int, seed: int = 0) -> tuple[list[dict[str, float]], np.ndarray]:
    generator = np.random.default_rng(seed)
    rows = generator.random((count, 3)) * [1e6, 2e5, 0.0] + [1e5, 0.0, 1.0]
    return [dict(zip(PARTS, row, strict=True)) for row in rows], rows @ COSTS


@pytest.mark.parametrize("count", [FEWEST_MEASUREMENTS, 10, 40])
def test_exact_sums_are_found_and_the_claimed_error_is_honest(count: int) -> None:
    estimate = CostEstimate(*_models(count))
    parts, values = _models(200, seed=1)
    found, deviations = estimate.predict(parts)
    errors = np.abs(found / values - 1)
    assert errors.mean() < (0.3 if count < 10 else 0.03)
    assert errors.mean() < 3 * estimate.relative_deviation
    assert np.all(deviations == estimate.relative_deviation * found)


def test_noise_widens_the_deviation() -> None:
    parts, values = _models(60)
    noisy = values * np.exp(0.2 * np.random.default_rng(0).standard_normal(60))
    assert CostEstimate(parts, noisy).relative_deviation == pytest.approx(0.2, rel=0.35)


def test_a_part_that_no_measured_model_has_costs_nothing_absurd() -> None:
    parts, values = _models(10)
    known = [each | {"new": 0.0} for each in parts]
    value, _ = CostEstimate(known, values).predict([known[0] | {"new": 1e9}])
    assert 0 < value[0] < 10 * values.max()
