"""Estimates from the windows of one run: a time, or the ratio of two models' times.

Windows are compared by a quantile of their samples, such as the median. The intervals are those of
one run of one or two processes. `hardware.repeatability` adds what other runs at other times would
give.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from hardware.measurement import NORMAL_975, Interval, Measurement, window_quantiles_ns

FEWEST_FOR_INTERVAL = 3  # windows
FEWEST_FOR_RANKS = 6  # fewer have no rank-based 95 % interval, and often look precise by chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The ratio of a model's time to the reference's time, with its 95 % confidence interval.

    The bounds are None for fewer than three windows. They describe these two processes only; see
    `hardware.repeatability` for those of a repeat.
    """

    value: float
    low: float | None
    high: float | None

    @property
    def interval(self) -> Interval | None:
        """The bounds; None for fewer than three windows."""
        if self.low is None or self.high is None:
            return None
        return Interval(low=self.low, high=self.high)

    @property
    def half_width(self) -> float:
        """Half the interval's width as a fraction of the value; infinity without an interval."""
        return math.inf if self.interval is None else self.interval.half_width

    @property
    def log_error(self) -> float:
        """The standard error of the logarithm of the value; infinity without an interval."""
        return math.inf if self.interval is None else self.interval.log_error


def ratio(measurement: Measurement, quantile: float = 0.5) -> Ratio:
    """Estimate the ratio of a model's time to that of its reference.

    Args:
        measurement: A measurement with a reference.
        quantile: The quantile of each window's samples that is compared.

    Raises:
        ValueError: The measurement has no reference.
    """
    if measurement.reference is None:
        raise ValueError(
            f"reference: {measurement.workload} was measured without a reference model"
        )
    return estimate_logs(
        log_quantiles(measurement, quantile) - log_quantiles(measurement.reference, quantile)
    )


def interval_ms(measurements: Sequence[Measurement], quantile: float = 0.5) -> Interval | None:
    """Return the 95 % confidence interval of the windows' quantile, in ms.

    It accounts only for the drift that its own windows show.

    Args:
        measurements: Measurements of one workload of one model.
        quantile: The quantile of each window's samples.

    Returns:
        The interval, or None for fewer than three windows.
    """
    logs = np.concatenate([log_quantiles(measurement, quantile) for measurement in measurements])
    interval = estimate_logs(logs).interval
    if interval is None:
        return None
    return Interval(low=interval.low / 1e6, high=interval.high / 1e6)


def log_quantiles(measurement: Measurement, quantile: float) -> NDArray[np.float64]:
    """Return the logarithms of `window_quantiles_ns`."""
    return np.log(window_quantiles_ns(measurement, quantile))


def estimate_logs(logs: NDArray[np.float64]) -> Ratio:
    """Return the Hodges-Lehmann estimate, the median of all pairwise means, with its interval.

    The interval is that of the Wilcoxon signed-rank test for large samples (Hollander, Wolfe and
    Chicken, Nonparametric Statistical Methods, 3.3), widened where consecutive windows are
    correlated; with too few windows for ranks it is Student's t interval. On recorded noise the
    error is as low as half that of the mean, because bursts of load from other processes have long
    tails.

    Args:
        logs: The logarithms of the windows' ratios or times, in the order of the windows.

    Returns:
        The ratio, or the time in the unit of the windows' times.
    """
    count = len(logs)
    first, second = np.triu_indices(count)
    means = np.sort((logs[first] + logs[second]) / 2)
    middle = float(np.median(means))
    if count < FEWEST_FOR_INTERVAL:
        return Ratio(value=math.exp(middle), low=None, high=None)
    if count < FEWEST_FOR_RANKS:
        below = above = stdtrit(count - 1, 0.975) * logs.std(ddof=1) / math.sqrt(count)
    else:
        spread = math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
        outside = math.floor(count * (count + 1) / 4 - NORMAL_975 * spread)
        wider = _widening(logs)
        below = wider * (middle - means[outside - 1])
        above = wider * (means[-outside] - middle)
    return Ratio(
        value=math.exp(middle), low=math.exp(middle - below), high=math.exp(middle + above)
    )


def _widening(logs: NDArray[np.float64]) -> float:
    """Return by how much the correlation of consecutive windows widens the interval of their mean.

    It is the factor of a first-order autoregression, computed from the rank correlation, and is at
    least 1.
    """
    logs = np.round(logs, 12)  # equal windows remain equal if all are scaled
    ordered = np.sort(logs)
    ranks = ordered.searchsorted(logs, "left") + ordered.searchsorted(logs, "right") - len(logs)
    if not ranks.any():  # all windows are equal
        return 1.0
    correlation = max(0.0, float(ranks[1:] @ ranks[:-1] / (ranks @ ranks)))
    return math.sqrt((1 + correlation) / (1 - correlation))
