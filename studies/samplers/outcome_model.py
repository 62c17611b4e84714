"""A Gaussian process that predicts the uncertain objective from features of a point.

The kernel is a Matérn kernel of degree 5/2 with one length scale per feature, so that features on
which the outcome does not depend hardly count. Rasmussen and Williams, "Gaussian Processes for
Machine Learning", 2006, chapters 2, 4 and 5.

Shapes: N points, D features.
"""

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from studies.samplers.kernel_fit import most_likely

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Sum

_Numbers = NDArray[np.float64]

# In standard deviations of the features. The search for the best ones starts where a feature hardly
# counts.
_LENGTHS = 0.5, 100.0
_FIRST_LENGTH = 5.0
# Variances in units of the outcomes' variance.
_SIGNALS = 0.1, 100.0
_NOISES = 1e-3, 1.0
_FIRST_NOISE = 0.1
# The largest number of points to which the length scales are fitted. The time of the fit grows with
# the cube of this number.
_MOST_FITTED = 300
_FOLDS = 5


class OutcomeModel:
    """A fitted model."""

    def __init__(
        self,
        features_ND: _Numbers,
        outcomes_N: _Numbers,
        deviations_N: _Numbers,
        generator: np.random.Generator,
        *,
        most_fitted: int | None = None,
    ) -> None:
        """Fit the model.

        Args:
            features_ND: The features of the observed points.
            outcomes_N: Their outcomes.
            deviations_N: The known standard deviation of each outcome; the model adds noise that
                all of them share.
            generator: Chooses the points to which the length scales are fitted, if there are many.
            most_fitted: The largest number of random points to which the length scales are fitted;
                None for a number that keeps the fit fast. Predictions use all points.
        """
        self._center, spread = features_ND.mean(axis=0), features_ND.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._mean, self._deviation = outcomes_N.mean(), outcomes_N.std() or 1.0
        self._inputs_ND = self._scaled(features_ND)
        self._outcomes_N = (outcomes_N - self._mean) / self._deviation
        self._known_N = np.square(deviations_N / self._deviation) + 1e-8
        chosen: slice | NDArray[np.intp] = slice(None)
        most = _MOST_FITTED if most_fitted is None else min(most_fitted, _MOST_FITTED)
        if len(outcomes_N) > most:
            chosen = generator.choice(len(outcomes_N), most, replace=False)
        kernel = most_likely(
            _first_kernel(features_ND.shape[1]),
            self._inputs_ND[chosen],
            self._outcomes_N[chosen],
            self._known_N[chosen],
        )
        self._noise = float(np.exp(kernel.theta[-1]))
        self._process = _process(kernel, self._inputs_ND, self._outcomes_N, self._known_N)

    @functools.cached_property
    def rank_correlation(self) -> float:
        """Spearman's correlation of predicted and observed outcomes in cross-validation.

        The length scales are fitted again without the outcomes to be predicted. With the length
        scales that are fitted to all outcomes, predictions for ten outcomes of pure chance would
        correlate with them, because some of many features always seems to matter.
        """
        from scipy.stats import spearmanr

        count = len(self._outcomes_N)
        predicted_N = np.empty(count)
        for fold in range(min(_FOLDS, count)):
            held_out = np.arange(count) % _FOLDS == fold
            known = (self._inputs_ND[~held_out], self._outcomes_N[~held_out])
            variances = self._known_N[~held_out]
            kernel = most_likely(_first_kernel(self._inputs_ND.shape[1]), *known, variances)
            process = _process(kernel, *known, variances)
            predicted_N[held_out] = process.predict(self._inputs_ND[held_out])
        if np.ptp(self._outcomes_N) == 0 or np.ptp(predicted_N) < 1e-9:
            return 0.0
        return float(spearmanr(predicted_N, self._outcomes_N).statistic)

    def predict(self, features_ND: _Numbers) -> tuple[_Numbers, _Numbers]:
        """Return the mean and the standard deviation of the true outcomes, without noise, (N,)."""
        means, deviations = self._process.predict(self._scaled(features_ND), return_std=True)
        variances = np.maximum(np.square(deviations) - self._noise, 1e-12)
        return self._mean + self._deviation * means, self._deviation * np.sqrt(variances)

    def draw(self, features_ND: _Numbers, count: int, generator: np.random.Generator) -> _Numbers:
        """Draw the true outcomes of several points together, (count, N)."""
        means, covariance = self._process.predict(self._scaled(features_ND), return_cov=True)
        values, vectors = np.linalg.eigh(covariance - self._noise * np.eye(len(means)))
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        drawn = means + generator.standard_normal((count, len(means))) @ root.T
        return np.asarray(self._mean + self._deviation * drawn)

    def _scaled(self, features_ND: _Numbers) -> _Numbers:
        return np.asarray((features_ND - self._center) / self._spread)


def first_parameters(features: int) -> tuple[_Numbers, _Numbers]:
    """Return where the search for the most likely kernel starts, without importing scikit-learn.

    Args:
        features: The number D of features.

    Returns:
        The parameters, (D + 2,), and their bounds, (D + 2, 2); see `kernel_fit`.
    """
    first = [1.0, *[_FIRST_LENGTH] * features, _FIRST_NOISE]
    bounds = [_SIGNALS, *[_LENGTHS] * features, _NOISES]
    return np.log(first), np.log(bounds)


def _first_kernel(features: int) -> "Sum":
    """Return the kernel from which the search for the most likely one starts."""
    # scikit-learn is slow to import, and most programs that read a study need no model.
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    lengths = np.full(features, _FIRST_LENGTH)
    smooth = ConstantKernel(1.0, _SIGNALS) * Matern(lengths, _LENGTHS, nu=2.5)
    kernel: Sum = smooth + WhiteKernel(_FIRST_NOISE, _NOISES)
    return kernel


def _process(
    kernel: "Sum", inputs_ND: _Numbers, outcomes_N: _Numbers, known_N: _Numbers
) -> "GaussianProcessRegressor":
    from sklearn.gaussian_process import GaussianProcessRegressor

    return GaussianProcessRegressor(kernel, alpha=known_N, optimizer=None).fit(
        inputs_ND, outcomes_N
    )
