"""Tests of the search for the most likely kernel, against scikit-learn."""

import warnings

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, Sum, WhiteKernel

from studies.samplers.kernel_fit import covariance, most_likely, negative_log_likelihood


def _kernel(lengths: np.ndarray) -> Sum:
    smooth = ConstantKernel(1.3, (0.1, 100.0)) * Matern(lengths, (0.5, 100.0), nu=2.5)
    return smooth + WhiteKernel(0.2, (1e-3, 1.0))


def _data(count: int, features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(count)
    inputs = generator.standard_normal((count, features))
    outcomes = np.sin(inputs[:, 0]) + 0.1 * generator.standard_normal(count)
    return inputs, outcomes, generator.uniform(0.0, 0.1, count)


@pytest.mark.parametrize(("count", "features"), [(1, 1), (2, 3), (12, 4), (60, 20)])
def test_the_likelihood_and_its_gradient_are_those_of_scikit_learn(
    count: int, features: int
) -> None:
    inputs, outcomes, known = _data(count, features)
    kernel = _kernel(np.random.default_rng(0).uniform(1, 5, features))
    process = GaussianProcessRegressor(kernel, alpha=known, optimizer=None).fit(inputs, outcomes)
    expected, gradient = process.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    value, slope = negative_log_likelihood(kernel.theta, inputs, outcomes, known)
    assert -value == pytest.approx(expected)
    assert -slope == pytest.approx(gradient, abs=1e-9)


def test_the_most_likely_kernel_is_that_of_scikit_learn() -> None:
    inputs, outcomes, known = _data(60, 8)
    kernel = _kernel(np.full(8, 5.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # length scales at their bound
        expected = GaussianProcessRegressor(kernel, alpha=known).fit(inputs, outcomes).kernel_
    fitted = most_likely(kernel, inputs, outcomes, known)
    value, _ = negative_log_likelihood(fitted.theta, inputs, outcomes, known)
    best, _ = negative_log_likelihood(expected.theta, inputs, outcomes, known)
    assert value == pytest.approx(best, abs=1e-4)
    assert fitted.theta[1] < min(fitted.theta[2:9]), "only the first feature matters"


def test_equal_points_without_noise_leave_the_kernel_within_its_bounds() -> None:
    kernel = _kernel(np.full(2, 5.0))
    fitted = most_likely(kernel, np.ones((5, 2)), np.zeros(5), np.zeros(5))
    low, high = kernel.bounds.T
    assert np.all(fitted.theta >= low)
    assert np.all(fitted.theta <= high)


def test_the_covariance_of_other_points_is_that_of_scikit_learn() -> None:
    inputs, _, _ = _data(12, 4)
    kernel = _kernel(np.random.default_rng(0).uniform(1, 5, 4))
    expected = kernel.k1(inputs[:5], inputs[5:])
    assert covariance(kernel.theta, inputs[:5], inputs[5:]) == pytest.approx(expected)
