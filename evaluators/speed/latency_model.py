"""Prediction of latency and memory by a regression on the parts of a model's work.

A score is a sum of parts, each with a nonnegative coefficient, fitted by least squares of the
relative error. Prediction intervals are conformal: they are scaled quantiles of the errors in
cross-validation, and wider for models that differ from the measured ones. Lei et al.,
Distribution-Free Predictive Inference for Regression, 2018.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.speed.workload_parts import Parts

MIN_MEASUREMENTS = 30
"""Enough for five folds and for a 95 % conformal interval, which requires at least 19."""

_FOLDS = 5
_SEED = 0
_INTERVAL = 0.95
# The smallest relative half width of an interval. No measurement is repeatable to less, although a
# small sample can be misleading and suggest so.
_LEAST_HALF_WIDTH = 0.01
# Bounds the variance of the coefficients of parts that are rare or correlated. The unit is the
# information in one measurement with a relative error of 1.
_RIDGE = 1e-3
# A prediction is at least this fraction of the smallest measurement. A relative error cannot be
# computed for a prediction of 0.
_LEAST_FRACTION = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A predicted score with its 95 % prediction interval.

    Attributes:
        value: The predicted score, in the unit of the measurements.
        margin: Half the width of the interval, in the same unit; infinite if the model has a part
            that no measured model has.
    """

    value: float
    margin: float

    @property
    def low(self) -> float:
        """The lower bound of the interval, at least 0."""
        return max(0.0, self.value - self.margin)

    @property
    def high(self) -> float:
        """The upper bound of the interval."""
        return self.value + self.margin

    def scaled(self, factor: float) -> "Prediction":
        """Return the prediction multiplied by a factor, for a score in another unit."""
        return Prediction(value=factor * self.value, margin=factor * self.margin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The accuracy of predictions in five-fold cross-validation.

    Attributes:
        count: The number of measured models.
        r2: The coefficient of determination.
        kendall_tau: Kendall's rank correlation of predictions and measurements.
        within_tenth: The fraction of predictions that are within 10 % of the measurement.
    """

    count: int
    r2: float
    kendall_tau: float
    within_tenth: float

    def __str__(self) -> str:
        return (
            f"{100 * self.within_tenth:.0f} % of {self.count} measured models were predicted "
            f"within ±10 %; R² {self.r2:.2f}, Kendall tau {self.kendall_tau:.2f}"
        )


class LatencyModel:
    """A regression of one score on the parts of the work.

    Attributes:
        accuracy: The accuracy of its predictions in cross-validation.
    """

    def __init__(self, known: Sequence[Parts], values: Sequence[float]) -> None:
        """Fit the model.

        Args:
            known: The parts of the measured architectures, at least MIN_MEASUREMENTS of them.
            values: The measured scores, all positive.
        """
        assert len(known) == len(values) >= MIN_MEASUREMENTS
        self._names = list(known[0])
        rows, measured = self._rows(known), np.asarray(values)
        self._most = rows.max(axis=0)
        scaled = self._scaled(rows)
        self._fit = _Fit(scaled, measured)
        predicted, nonconformity = np.empty_like(measured), np.empty_like(measured)
        for held_out in _folds(len(measured)):
            fit = _Fit(np.delete(scaled, held_out, axis=0), np.delete(measured, held_out))
            predicted[held_out] = fit.values(scaled[held_out])
            errors = np.abs(measured[held_out] / predicted[held_out] - 1)
            nonconformity[held_out] = errors / fit.interval_scale(scaled[held_out])
        rank = math.ceil(_INTERVAL * (len(measured) + 1))
        self._half_width = max(_LEAST_HALF_WIDTH, float(np.sort(nonconformity)[rank - 1]))
        self.accuracy = accuracy(measured, predicted)

    def predict(self, parts: Parts) -> Prediction:
        """Predict the score of an architecture.

        The interval is infinite if the architecture has a part that no measured one has.

        Args:
            parts: The parts of the architecture's work; see `parts_of`.
        """
        row = self._rows([parts])
        value = float(self._fit.values(self._scaled(row))[0])
        if np.any(row > 0, where=self._most == 0):
            return Prediction(value=value, margin=math.inf)
        scale = float(self._fit.interval_scale(self._scaled(row))[0])
        return Prediction(value=value, margin=self._half_width * scale * value)

    def _rows(self, known: Sequence[Parts]) -> NDArray[np.float64]:
        return np.array([[parts[name] for name in self._names] for parts in known])

    def _scaled(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Divide each part by its measured maximum, so that coefficients are of similar size."""
        known = self._most > 0
        return np.asarray(rows[:, known] / self._most[known])


def accuracy(measured: NDArray[np.float64], predicted: NDArray[np.float64]) -> Accuracy:
    """Compare predictions with measurements.

    Args:
        measured: The measured scores, all positive.
        predicted: The prediction for each of them.
    """
    from scipy.stats import kendalltau  # takes half a second to import, and few programs need it

    total = float(np.square(measured - measured.mean()).sum())
    residual = float(np.square(measured - predicted).sum())
    return Accuracy(
        count=len(measured),
        r2=1 - residual / total if total else 0.0,
        kendall_tau=float(kendalltau(measured, predicted).statistic),
        within_tenth=float(np.mean(np.abs(predicted / measured - 1) <= 0.1)),
    )


class _Fit:
    """The coefficients of the parts, and their covariance up to a factor."""

    def __init__(self, rows: NDArray[np.float64], measured: NDArray[np.float64]) -> None:
        from scipy.optimize import nnls

        relative = rows / measured[:, None]
        self._coefficients: NDArray[np.float64] = nnls(relative, np.ones(len(rows)))[0]
        self._least = _LEAST_FRACTION * measured.min()
        information = relative.T @ relative + _RIDGE * np.eye(rows.shape[1])
        self._covariance = np.linalg.inv(information)

    def values(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.maximum(rows @ self._coefficients, self._least))

    def interval_scale(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factor by which intervals widen with the leverage of a model: sqrt(1 + h)."""
        relative = rows / self.values(rows)[:, None]
        leverage = np.einsum("ij,jk,ik->i", relative, self._covariance, relative)
        return np.asarray(np.sqrt(1 + leverage))


def _folds(count: int) -> list[NDArray[np.intp]]:
    return np.array_split(np.random.default_rng(_SEED).permutation(count), _FOLDS)
