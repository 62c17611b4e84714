"""A Gaussian process that predicts the uncertain objective from features of a point.

The kernel is a Matérn kernel of degree 5/2 with one length scale per feature, so that features on
which the outcome does not depend hardly count. Rasmussen and Williams, "Gaussian Processes for
Machine Learning", 2006, chapters 2, 4 and 5.

Shapes: N points, D features.
"""

import functools
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Kernel

_Numbers = NDArray[np.float64]

# In standard deviations of the features. The search for the best ones starts where a feature hardly
# counts.
_LENGTHS = 0.5, 100.0
_FIRST_LENGTH = 5.0
# Variances in units of the outcomes' variance.
_SIGNALS = 0.1, 100.0
_NOISES = 1e-3, 1.0
_FIRST_NOISE = 0.1
# The length scales are fitted to so many points at most, because the time grows with the cube of
# their number.
_MOST_FITTED = 300


class OutcomeModel:
    """A fitted model."""

    def __init__(
        self,
        features_ND: _Numbers,
        outcomes_N: _Numbers,
        deviations_N: _Numbers,
        generator: np.random.Generator,
    ) -> None:
        """Fit the model.

        Args:
            features_ND: The features of the observed points.
            outcomes_N: Their outcomes.
            deviations_N: The known standard deviation of each outcome; the model adds noise that
                all of them share.
            generator: Chooses the points to which the length scales are fitted, if there are many.
        """
        # scikit-learn is slow to import, and most programs that read a study need no model.
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        self._center, spread = features_ND.mean(axis=0), features_ND.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._mean, self._deviation = outcomes_N.mean(), outcomes_N.std() or 1.0
        scaled = (outcomes_N - self._mean) / self._deviation
        known = np.square(deviations_N / self._deviation) + 1e-8
        lengths = np.full(features_ND.shape[1], _FIRST_LENGTH)
        kernel = ConstantKernel(1.0, _SIGNALS) * Matern(lengths, _LENGTHS, nu=2.5)
        kernel = kernel + WhiteKernel(_FIRST_NOISE, _NOISES)
        inputs = self._scaled(features_ND)
        if len(scaled) > _MOST_FITTED:
            chosen = generator.choice(len(scaled), _MOST_FITTED, replace=False)
            kernel = _fitted(kernel, inputs[chosen], scaled[chosen], known[chosen]).kernel_
            self._process = GaussianProcessRegressor(kernel, alpha=known, optimizer=None)
            self._process.fit(inputs, scaled)
        else:
            self._process = _fitted(kernel, inputs, scaled, known)
        self._noise = self._process.kernel_.k2.noise_level
        self._scaled_outcomes = scaled

    @functools.cached_property
    def rank_correlation(self) -> float:
        """Spearman's correlation of leave-one-out predictions with the outcomes.

        Each outcome is predicted from all others (section 5.4.2 of the book).
        """
        from scipy.linalg import cho_solve
        from scipy.stats import spearmanr

        outcomes_N = self._scaled_outcomes
        inverse = cho_solve((self._process.L_, True), np.eye(len(outcomes_N)))
        predicted = outcomes_N - (inverse @ outcomes_N) / np.diag(inverse)
        if np.ptp(outcomes_N) == 0 or np.ptp(predicted) == 0:
            return 0.0
        return float(spearmanr(predicted, outcomes_N).statistic)

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


def _fitted(
    kernel: "Kernel", inputs_ND: _Numbers, outcomes_N: _Numbers, known_N: _Numbers
) -> "GaussianProcessRegressor":
    """Return a process whose kernel has the most likely parameters."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor

    with warnings.catch_warnings():
        # The length scales of features that do not matter are at their bound, as intended.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel, alpha=known_N).fit(inputs_ND, outcomes_N)
