"""A Gaussian process that predicts the uncertain objective from features of parameters.

Its kernel is a sum: a linear kernel over all numbers, and one kernel for each group of features, so
that what is learned about one group holds whatever the others are (Duvenaud et al., "Additive
Gaussian Processes", NeurIPS 2011). Numbers have a Matérn kernel of degree 5/2 over their distance.
Categories have an exponential kernel over the fraction that differs. Rasmussen and Williams,
"Gaussian Processes for Machine Learning", 2006, chapters 2, 4 and 5.

Shapes: N points, D features, G groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

_Numbers = NDArray[np.float64]

_WEIGHTS = 0.02, 10.0
_LENGTHS = 0.3, 10.0
_NOISE = 1e-4, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureGroup:
    """Columns of the features that belong together.

    Attributes:
        columns: Their indices.
        are_categories: Whether they are codes of categories, which are equal or not, instead of
            numbers.
    """

    columns: tuple[int, ...]
    are_categories: bool = False


class AdditiveKernel(Kernel):  # type: ignore[misc]  # scikit-learn has no types
    """The sum of a linear kernel, one kernel for each group, and noise.

    Args:
        groups: The groups of features.
        weights: The variance of the linear kernel, then that of each group, (1 + G,).
        lengths: The length scale of each group, (G,).
        noise: The variance of the noise.
    """

    def __init__(
        self,
        groups: Sequence[FeatureGroup],
        weights: _Numbers,
        lengths: _Numbers,
        noise: float,
    ) -> None:
        self.groups = groups
        self.weights = weights
        self.lengths = lengths
        self.noise = noise

    @property
    def hyperparameter_weights(self) -> Hyperparameter:
        return Hyperparameter("weights", "numeric", _WEIGHTS, len(self.groups) + 1)

    @property
    def hyperparameter_lengths(self) -> Hyperparameter:
        return Hyperparameter("lengths", "numeric", _LENGTHS, len(self.groups))

    @property
    def hyperparameter_noise(self) -> Hyperparameter:
        return Hyperparameter("noise", "numeric", _NOISE)

    def __call__(
        self, X: _Numbers, Y: _Numbers | None = None, eval_gradient: bool = False
    ) -> _Numbers | tuple[_Numbers, _Numbers]:
        other = X if Y is None else Y
        numbers = [column for group in self.groups if not group.are_categories for column in group.columns]
        linear = X[:, numbers] @ other[:, numbers].T / max(1, len(numbers))
        total = self.weights[0] * linear
        # The derivatives by the logarithms, in the order of theta: lengths, noise, weights.
        by_length, by_weight = [], [self.weights[0] * linear]
        for group, weight, length in zip(self.groups, self.weights[1:], self.lengths, strict=True):
            scaled = _distance(X, other, group) / length
            if group.are_categories:
                values = weight * np.exp(-scaled)
                slope = values * scaled
            else:
                root = np.sqrt(5) * scaled
                decay = weight * np.exp(-root)
                values = decay * (1 + root + np.square(root) / 3)
                slope = decay * np.square(root) * (1 + root) / 3
            total += values
            by_length.append(slope)
            by_weight.append(values)
        if Y is not None:
            return total
        identity = np.eye(len(X))
        total += self.noise * identity
        if not eval_gradient:
            return total
        return total, np.stack([*by_length, self.noise * identity, *by_weight], axis=-1)

    def diag(self, X: _Numbers) -> _Numbers:
        numbers = [column for group in self.groups if not group.are_categories for column in group.columns]
        linear = np.square(X[:, numbers]).sum(axis=1) / max(1, len(numbers))
        return self.weights[0] * linear + self.weights[1:].sum() + self.noise

    def is_stationary(self) -> bool:
        return False


class OutcomeModel:
    """A fitted model.

    Attributes:
        rank_correlation: Spearman's correlation of leave-one-out predictions with the outcomes.
    """

    def __init__(
        self,
        groups: Sequence[FeatureGroup],
        features_ND: _Numbers,
        outcomes_N: _Numbers,
        deviations_N: _Numbers,
    ) -> None:
        """Fit the model.

        Args:
            groups: The groups of features.
            features_ND: The features of the observed points.
            outcomes_N: Their outcomes.
            deviations_N: The known standard deviation of each outcome; the model adds noise that
                all of them share.
        """
        self._groups = groups
        self._center = features_ND.mean(axis=0)
        spread = features_ND.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        for group in groups:
            if group.are_categories:
                self._center[list(group.columns)] = 0.0
                self._spread[list(group.columns)] = 1.0
        self._mean, self._deviation = outcomes_N.mean(), outcomes_N.std() or 1.0
        kernel = AdditiveKernel(
            groups, np.full(len(groups) + 1, 0.3), np.full(len(groups), 1.5), noise=0.05
        )
        self._process = GaussianProcessRegressor(
            kernel, alpha=np.square(deviations_N / self._deviation) + 1e-8
        )
        scaled = (outcomes_N - self._mean) / self._deviation
        self._process.fit(self._scaled(features_ND), scaled)
        self.rank_correlation = self._leave_one_out(scaled)

    def predict(self, features_ND: _Numbers) -> tuple[_Numbers, _Numbers]:
        """Return the mean and the standard deviation of the true outcomes, without noise, (N,)."""
        means, deviations = self._process.predict(self._scaled(features_ND), return_std=True)
        variances = np.maximum(np.square(deviations) - self._process.kernel_.noise, 1e-12)
        return (
            self._mean + self._deviation * means,
            self._deviation * np.sqrt(variances),
        )

    def draw(
        self, features_ND: _Numbers, count: int, generator: np.random.Generator
    ) -> _Numbers:
        """Draw true outcomes of several points together, (count, N)."""
        means, covariance = self._process.predict(self._scaled(features_ND), return_cov=True)
        covariance = covariance - self._process.kernel_.noise * np.eye(len(means))
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        drawn = means + generator.standard_normal((count, len(means))) @ root.T
        return self._mean + self._deviation * drawn

    def _scaled(self, features_ND: _Numbers) -> _Numbers:
        return (features_ND - self._center) / self._spread

    def _leave_one_out(self, outcomes_N: _Numbers) -> float:
        """Compare each outcome with its prediction from all others (section 5.4.2 of the book)."""
        from scipy.linalg import cho_solve
        from scipy.stats import spearmanr

        inverse = cho_solve((self._process.L_, True), np.eye(len(outcomes_N)))
        predicted = outcomes_N - (inverse @ outcomes_N) / np.diag(inverse)
        return float(spearmanr(predicted, outcomes_N).statistic)


def _distance(one_ND: _Numbers, other_ND: _Numbers, group: FeatureGroup) -> _Numbers:
    from scipy.spatial.distance import cdist

    columns = list(group.columns)
    if group.are_categories:
        return np.asarray(cdist(one_ND[:, columns], other_ND[:, columns], "hamming"))
    distances = cdist(one_ND[:, columns], other_ND[:, columns])
    return np.asarray(distances / np.sqrt(len(columns)))
