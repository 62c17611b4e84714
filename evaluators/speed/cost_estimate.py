"""Estimates of a time or of memory from few measurements, which guide a search but decide nothing.

`latency_model.LatencyModel` gives intervals on which decisions may rest, from 30 measurements on.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluators.speed.workload_parts import Parts

FEWEST_MEASUREMENTS = 4

_FOLDS = 5
# Draws the coefficient of each part towards the same cost per part, by as much as a fraction of a
# measurement would.
_SHRINKAGE = 0.003
# No estimate is better than this fraction of the value.
_LEAST_DEVIATION = 0.01

_Numbers = NDArray[np.float64]


class CostEstimate:
    """A score as a sum of the parts of a model's work, each with a nonnegative coefficient.

    Attributes:
        relative_deviation: The standard deviation of the relative error, in cross-validation.
    """

    def __init__(self, known: Sequence[Parts], values: Sequence[float]) -> None:
        """Fit the coefficients by least squares of the relative error.

        Args:
            known: The parts of the measured models, at least FEWEST_MEASUREMENTS of them.
            values: The measured scores, all positive.
        """
        assert len(known) == len(values) >= FEWEST_MEASUREMENTS
        self._names = list(known[0])
        rows, measured = self._rows(known), np.asarray(values, dtype=np.float64)
        largest = rows.max(axis=0)
        self._largest = np.where(largest > 0, largest, 1.0)
        rows = rows / self._largest
        self._coefficients = _fit(rows, measured)
        errors = np.empty(len(measured))
        for fold in range(min(_FOLDS, len(measured))):
            held_out = np.arange(len(measured)) % _FOLDS == fold
            fitted = _fit(rows[~held_out], measured[~held_out])
            errors[held_out] = rows[held_out] @ fitted / measured[held_out] - 1
        spread = float(np.sqrt(np.mean(np.square(errors))))
        self.relative_deviation = max(_LEAST_DEVIATION, spread)

    def predict(self, parts: Sequence[Parts]) -> tuple[_Numbers, _Numbers]:
        """Return the estimates and their standard deviations, (N,) each.

        Args:
            parts: The parts of the models' work.
        """
        # A part that no measured model has is not larger than what the others show.
        rows = np.minimum(self._rows(parts) / self._largest, 2.0)
        values = rows @ self._coefficients
        return values, self.relative_deviation * values

    def _rows(self, known: Sequence[Parts]) -> _Numbers:
        return np.array([[parts[name] for name in self._names] for parts in known])


def _fit(rows: _Numbers, measured: _Numbers) -> _Numbers:
    from scipy.optimize import nnls

    relative = rows / measured[:, None]
    # Each part's coefficient if all parts cost the same and their sum is the score.
    equal = float(np.median(measured / np.maximum(rows.sum(axis=1), 1e-12)))
    pull = np.sqrt(_SHRINKAGE * len(measured) / rows.shape[1]) / max(equal, 1e-300)
    augmented = np.vstack([relative, pull * np.eye(rows.shape[1])])
    target = np.concatenate([np.ones(len(measured)), np.full(rows.shape[1], pull * equal)])
    return np.asarray(nnls(augmented, target)[0])
