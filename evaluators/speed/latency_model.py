"""A score of an architecture that was not measured, from those that were: a regression on its work.

The parts of the work add up, each at a price that is not negative (least squares of the relative
error). Intervals are conformal: from what cross-validation was wrong by, widened where a model is
unlike those measured. Lei et al., Distribution-Free Predictive Inference for Regression, 2018.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.speed.workload_parts import Parts

# Enough for five folds and for a 95 % interval, of which 19 are the least.
FEWEST = 30

_FOLDS = 5
_SEED = 0
_INTERVAL = 0.95
# As a share; no measurement repeats better, and one set may look as if.
_LEAST_SPREAD = 0.01
# Keeps prices of parts that are rare, or go together, from running away; in units of one
# measurement that is wrong by as much as it says.
_RIDGE = 1e-3
# Of the least that was measured: nothing is forecast at 0, by which errors could not be divided.
_LEAST_SHARE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """margin: half the interval in which 95 of 100 measurements are."""

    value: float
    margin: float

    @property
    def low(self) -> float:
        return max(0.0, self.value - self.margin)

    @property
    def high(self) -> float:
        return self.value + self.margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How well models that were left out were forecast, in five folds.

    r2: the share of the variance that is explained; within_tenth: the share of forecasts that
    were off by at most 10 %.
    """

    count: int
    r2: float
    kendall_tau: float
    within_tenth: float

    def __str__(self) -> str:
        return (
            f"{self.count} that were, {self.within_tenth:.0%} were forecast within ±10 %; "
            f"R² {self.r2:.2f}, Kendall tau {self.kendall_tau:.2f}"
        )


class LatencyModel:
    """Fitted to the parts of FEWEST architectures or more, and what was measured, all above 0."""

    def __init__(self, known: Sequence[Parts], values: Sequence[float]) -> None:
        assert len(known) == len(values) >= FEWEST
        self._names = list(known[0])
        rows, measured = self._rows(known), np.asarray(values)
        self._most = rows.max(axis=0)
        scaled = self._scaled(rows)
        self._fit = _Fit(scaled, measured)
        forecasts, surprise = np.empty_like(measured), np.empty_like(measured)
        for left_out in _folds(len(measured)):
            fit = _Fit(np.delete(scaled, left_out, axis=0), np.delete(measured, left_out))
            forecasts[left_out] = fit.values(scaled[left_out])
            errors = np.abs(measured[left_out] / forecasts[left_out] - 1)
            surprise[left_out] = errors / fit.strangeness(scaled[left_out])
        rank = math.ceil(_INTERVAL * (len(measured) + 1))
        self._spread = max(_LEAST_SPREAD, float(np.sort(surprise)[rank - 1]))
        self.accuracy = accuracy(measured, forecasts)

    def forecast(self, parts: Parts) -> Prediction:
        """Of what no measured architecture had any part of, nothing is known."""
        row = self._rows([parts])
        value = float(self._fit.values(self._scaled(row))[0])
        if np.any(row > 0, where=self._most == 0):
            return Prediction(value=value, margin=math.inf)
        strangeness = float(self._fit.strangeness(self._scaled(row))[0])
        return Prediction(value=value, margin=self._spread * strangeness * value)

    def _rows(self, known: Sequence[Parts]) -> NDArray[np.float64]:
        return np.array([[parts[name] for name in self._names] for parts in known])

    def _scaled(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """By the most that is known of each part, so that prices are alike in size."""
        known = self._most > 0
        return np.asarray(rows[:, known] / self._most[known])


def accuracy(measured: NDArray[np.float64], forecasts: NDArray[np.float64]) -> Accuracy:
    from scipy.stats import kendalltau  # takes half a second, and few programs come here

    all_there_is = float(np.square(measured - measured.mean()).sum())
    unexplained = float(np.square(measured - forecasts).sum())
    return Accuracy(
        count=len(measured),
        r2=1 - unexplained / all_there_is if all_there_is else 0.0,
        kendall_tau=float(kendalltau(measured, forecasts).statistic),
        within_tenth=float(np.mean(np.abs(forecasts / measured - 1) <= 0.1)),
    )


class _Fit:
    """Prices of parts, and how well each direction of their space is known."""

    def __init__(self, rows: NDArray[np.float64], measured: NDArray[np.float64]) -> None:
        from scipy.optimize import nnls

        relative = rows / measured[:, None]
        self._prices: NDArray[np.float64] = nnls(relative, np.ones(len(rows)))[0]
        self._least = _LEAST_SHARE * measured.min()
        information = relative.T @ relative + _RIDGE * np.eye(rows.shape[1])
        self._covariance = np.linalg.inv(information)

    def values(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.maximum(rows @ self._prices, self._least))

    def strangeness(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        relative = rows / self.values(rows)[:, None]
        leverage = np.einsum("ij,jk,ik->i", relative, self._covariance, relative)
        return np.asarray(np.sqrt(1 + leverage))


def _folds(count: int) -> list[NDArray[np.intp]]:
    return np.array_split(np.random.default_rng(_SEED).permutation(count), _FOLDS)
