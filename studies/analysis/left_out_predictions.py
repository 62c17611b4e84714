"""Predictions of the outcome of each candidate from the outcomes of all others.

Shapes: N candidates, of which predictions are based on the first K; D features.
"""

import numpy as np
from numpy.typing import NDArray

from studies.samplers.kernel_fit import covariance, most_likely_parameters
from studies.samplers.outcome_model import first_parameters

_Numbers = NDArray[np.float64]

_FOLDS = 5
# The largest number of random candidates to which length scales are fitted. More would take a long
# time and change little.
_MOST_FITTED = 100
# Keeps the covariance invertible; in units of the outcomes' variance.
_JITTER = 1e-8


def left_out_predictions(
    features_ND: _Numbers,
    outcomes_N: _Numbers,
    generator: np.random.Generator,
    *,
    known: int | None = None,
    deviations_N: _Numbers | None = None,
    earlier_N: _Numbers | None = None,
    folds: int = _FOLDS,
) -> tuple[_Numbers, _Numbers]:
    """Predict the outcome of each candidate from the outcomes of all others.

    The model is the Gaussian process of `OutcomeModel`, optionally added to a line through earlier
    outcomes. The candidates are divided into folds. For each fold, the line, the length scales, the
    noise and the scale of the outcomes are fitted without its candidates. With these, the outcome
    of each candidate in the fold is predicted from all other candidates, which include the rest of
    the fold. This step has a closed form (Rasmussen and Williams, "Gaussian Processes for Machine
    Learning", 2006, equations 5.10 to 5.12). An outcome therefore has no influence on its own
    prediction.

    Args:
        features_ND: The features of the candidates.
        outcomes_N: Their outcomes.
        generator: Chooses the candidates to which length scales are fitted, if there are many.
        known: The number K, at least two, of the first candidates, from which all are predicted;
            None for all. The fit without the first fold predicts the others.
        deviations_N: The known standard deviation of each outcome, in addition to the noise that
            all of them share; None for 0. That of a candidate itself does not affect its own
            prediction.
        earlier_N: An earlier outcome of each candidate, of which the later one is a linear function
            plus what the features predict; None if there is none.
        folds: The number of folds, at least two. With as many as candidates, everything is fitted
            again for each candidate.

    Returns:
        The means and the standard deviations of the predictions, each of shape (N,). The standard
        deviations include the noise.
    """
    count = len(outcomes_N)
    known = count if known is None else known
    spread_D, center_D = features_ND[:known].std(axis=0), features_ND[:known].mean(axis=0)
    inputs_ND = (features_ND - center_D) / np.where(spread_D > 0, spread_D, 1.0)
    if deviations_N is None:
        deviations_N = np.zeros(count)
    fold_N = np.where(np.arange(count) < known, np.arange(count) % folds, 0)
    means_N, sds_N = np.empty(count), np.empty(count)
    for fold in range(min(folds, known)):
        left_out = fold_N == fold
        others = np.flatnonzero(~left_out[:known])
        trend_N = np.full(count, outcomes_N[others].mean())
        if earlier_N is not None:
            slope, intercept = fitted_line(earlier_N[others], outcomes_N[others])
            trend_N = intercept + slope * earlier_N
        rest_N = outcomes_N - trend_N
        deviation = rest_N[others].std() or 1.0
        fitted = others
        if len(others) > _MOST_FITTED:
            fitted = generator.choice(others, _MOST_FITTED, replace=False)
        theta = most_likely_parameters(
            *first_parameters(features_ND.shape[1]),
            inputs_ND[fitted],
            rest_N[fitted] / deviation,
            np.square(deviations_N[fitted] / deviation) + _JITTER,
        )
        variances_K = np.square(deviations_N[:known] / deviation)
        predicted_N, errors_N = _predictions(theta, inputs_ND, rest_N / deviation, variances_K)
        means_N[left_out] = (trend_N + deviation * predicted_N)[left_out]
        sds_N[left_out] = deviation * errors_N[left_out]
    return means_N, sds_N


def fitted_line(one_N: _Numbers, other_N: _Numbers) -> tuple[float, float]:
    """Return the slope and the intercept of the least-squares line; a slope of 0 if x is constant.

    Args:
        one_N: The x values.
        other_N: The y values.
    """
    distances_N = one_N - one_N.mean()
    squares = float(distances_N @ distances_N)
    slope = float(distances_N @ other_N) / squares if squares > 0 else 0.0
    return slope, float(other_N.mean() - slope * one_N.mean())


def rank_correlation_of(one_N: _Numbers, other_N: _Numbers) -> float:
    """Return Spearman's correlation, or 0 if either list is constant up to rounding errors.

    scipy.stats takes 0.8 s to import, which `nas show` would have to wait for.
    """
    if np.ptp(one_N) < 1e-9 or np.ptp(other_N) < 1e-9:
        return 0.0
    return float(np.corrcoef(_ranks(one_N), _ranks(other_N))[0, 1])


def _predictions(
    theta: _Numbers, inputs_ND: _Numbers, outcomes_N: _Numbers, variances_K: _Numbers
) -> tuple[_Numbers, _Numbers]:
    """Predict each outcome from the first K ones other than itself, whose variances are known."""
    from scipy.linalg import cho_factor, cho_solve  # slow to import

    known = len(variances_K)
    noise = np.exp(theta[-1]) + _JITTER
    inputs_KD, outcomes_K = inputs_ND[:known], outcomes_N[:known]
    covariance_KK = covariance(theta, inputs_KD, inputs_KD) + np.diag(noise + variances_K)
    inverse_KK = cho_solve(cho_factor(covariance_KK, lower=True), np.eye(known))
    across_NK = covariance(theta, inputs_ND, inputs_KD)
    means_N = across_NK @ inverse_KK @ outcomes_K
    explained_N = np.einsum("nk,nk->n", across_NK @ inverse_KK, across_NK)
    variances_N = np.exp(theta[0]) + noise - explained_N
    left_out_K = 1.0 / np.diag(inverse_KK)
    variances_N[:known] = left_out_K - variances_K
    means_N[:known] = outcomes_K - inverse_KK @ outcomes_K * left_out_K
    return means_N, np.sqrt(np.maximum(variances_N, _JITTER))


def _ranks(values_N: _Numbers) -> _Numbers:
    """Return the ranks; equal values share the mean of their ranks."""
    _, places, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places])
