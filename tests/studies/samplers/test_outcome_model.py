"""Tests of the model of the uncertain objective."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor

from studies.samplers import outcome_model
from studies.samplers.outcome_model import OutcomeModel


def _data(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return ten features, of which two matter, and outcomes with a little noise."""
    generator = np.random.default_rng(seed)
    features = generator.random((count, 10))
    outcomes = 3 + np.sin(3 * features[:, 0]) - features[:, 1] ** 2
    return features, outcomes + 0.02 * generator.standard_normal(count)


def _fitted(count: int) -> OutcomeModel:
    features, outcomes = _data(count)
    return OutcomeModel(features, outcomes, np.zeros(count), np.random.default_rng(0))


def test_predictions_follow_the_features_that_matter() -> None:
    model = _fitted(40)
    features, outcomes = _data(200, seed=1)
    means, deviations = model.predict(features)
    errors = np.abs(means - outcomes)
    assert errors.mean() < 0.1 * outcomes.std()
    assert model.rank_correlation > 0.95
    assert np.mean(errors < 2 * np.hypot(deviations, 0.02)) > 0.85


def test_what_has_no_relation_is_not_predicted() -> None:
    generator = np.random.default_rng(2)
    model = OutcomeModel(
        generator.random((40, 5)), generator.random(40), np.zeros(40), np.random.default_rng(0)
    )
    assert model.rank_correlation < 0.5


def test_few_outcomes_of_pure_chance_do_not_seem_predictable() -> None:
    generator = np.random.default_rng(4)
    correlations = [
        OutcomeModel(
            generator.random((10, 20)), generator.random(10), np.zeros(10), generator
        ).rank_correlation
        for _ in range(8)
    ]
    assert np.mean(correlations) < 0.2


def test_a_doubtful_outcome_counts_less() -> None:
    features, outcomes = _data(30)
    outcomes[4] += 2.0
    deviations = np.zeros(30)
    trusting = OutcomeModel(features, outcomes, deviations, np.random.default_rng(0))
    deviations[4] = 2.0
    doubting = OutcomeModel(features, outcomes, deviations, np.random.default_rng(0))
    true = outcomes[4] - 2.0
    errors = [abs(model.predict(features[4:5])[0][0] - true) for model in (doubting, trusting)]
    assert errors[0] < 0.5 * errors[1]


def test_draws_have_the_predicted_means_and_deviations() -> None:
    model = _fitted(15)
    features, _ = _data(5, seed=3)
    drawn = model.draw(features, 4_000, np.random.default_rng(0))
    means, deviations = model.predict(features)
    error = 5 * deviations.max() / np.sqrt(len(drawn))
    assert drawn.mean(axis=0) == pytest.approx(means, abs=error)
    assert drawn.std(axis=0) == pytest.approx(deviations, rel=0.1, abs=1e-4)


def test_many_outcomes_are_all_used_though_few_are_fitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outcome_model, "_MOST_FITTED", 20)
    model = _fitted(60)
    assert isinstance(model._process, GaussianProcessRegressor)
    assert len(model._process.X_train_) == 60
    assert model.rank_correlation > 0.95


def test_length_scales_are_fitted_to_as_many_outcomes_as_requested() -> None:
    """The noise is small if it is fitted to the half of the outcomes that have little."""
    features, outcomes = _data(60)

    class FirstHalf(np.random.Generator):
        def choice(self, a: int, size: int, replace: bool) -> np.ndarray:  # type: ignore[override]
            assert (a, size, replace) == (60, 30, False)
            return np.arange(30)

    outcomes[30:] += 0.4 * np.random.default_rng(4).standard_normal(30)
    generator = FirstHalf(np.random.PCG64(0))
    halved = OutcomeModel(features, outcomes, np.zeros(60), generator, most_fitted=30)
    whole = OutcomeModel(features, outcomes, np.zeros(60), np.random.default_rng(0))
    assert halved._noise < 0.2 * whole._noise
    assert isinstance(halved._process, GaussianProcessRegressor)
    assert len(halved._process.X_train_) == 60


def test_equal_outcomes_and_constant_features_are_accepted() -> None:
    model = OutcomeModel(np.ones((6, 2)), np.ones(6), np.zeros(6), np.random.default_rng(0))
    assert model.predict(np.ones((1, 2)))[0] == pytest.approx([1.0])


def test_the_search_for_a_kernel_starts_at_the_same_place_without_scikit_learn() -> None:
    first, bounds = outcome_model.first_parameters(3)
    kernel = outcome_model._first_kernel(3)
    assert first == pytest.approx(kernel.theta)
    assert bounds == pytest.approx(kernel.bounds)
