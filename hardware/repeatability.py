"""The ratio of two models' times that repeats would give, from one or several measurements of it.

The interval of one run describes two processes at one moment. If a model is loaded again, its
weights lie elsewhere in memory, and at another time other programs or virtual machines use the
hardware. The intervals here cover the mean over such repeats. They have three parts: the scatter
within each run, the scatter between runs, and the suspected effect of other programs that no clock
shows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hardware.measurement import NORMAL_975, Interval, Measurement, Phase, running_ns, warm
from hardware.window_statistics import estimate_logs, log_quantiles

# The constants below are fitted to recorded measurements; see benchmarks/timing_under_load.py. They
# are standard deviations of the logarithm of a ratio, or of a time.
BETWEEN_RUNS: dict[Phase, float] = {"decode": 0.018, "prefill": 0.012}
# Models that differ in size depend on different levels of the memory, which vary independently.
# Added in full for models whose times differ by a factor of 3 or more, and not below a factor of 2.
_BETWEEN_SIZES: dict[Phase, float] = {"decode": 0.03, "prefill": 0.01}
_ONE_SIZE, _OTHER_SIZE = 2.0, 3.0
# For a model that waits for its core all the time; less in proportion.
_SHARED_CORE: dict[Phase, float] = {"decode": 0.2, "prefill": 0.04}
# For at least one other core that is busy all the time; less in proportion. Most models take no
# longer, but one whose weights barely fit a shared cache took half as long again, and nothing
# distinguishes the two kinds.
_SHARED_MEMORY: dict[Phase, float] = {"decode": 0.08, "prefill": 0.015}
# For a measurement during which another one may have run: no precision can be claimed.
_UNRESERVED = 1.0
# Less load than this, in cores, is normal on any machine.
_NEGLIGIBLE = 0.25
_FEWEST_FOR_TAIL = 20  # samples, in a window or else in all of them, for a 95 % quantile
_MOST_PARTS = 20  # into which the jackknife divides a run


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatableRatio:
    """A ratio of times.

    Attributes:
        value: The ratio.
        interval: Its 95 % confidence interval; None if a run had too few windows for one.
    """

    value: float
    interval: Interval | None

    @property
    def half_width(self) -> float:
        """Half the interval's width as a fraction of the value; infinity without an interval."""
        return math.inf if self.interval is None else self.interval.half_width


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTime:
    """The time of a model by itself, as one measurement shows it.

    Attributes:
        milliseconds: The median time per token or per prompt, without waiting.
        error: The standard error of its logarithm, including the suspected effect of other load.
    """

    milliseconds: float
    error: float

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % confidence interval, as a fraction (on a log scale)."""
        return NORMAL_975 * self.error


def repeatable_ratio(
    measurements: Sequence[Measurement],
    *,
    quantile: float = 0.5,
    slowdowns: Sequence[float],
    between_runs: float | None = None,
) -> RepeatableRatio:
    """Estimate the ratio of a quantile of a model's time to the median of its reference's time.

    Args:
        measurements: Measurements of one workload with a reference; at least one. The model was
            loaded again for each. If some have enough windows for an interval, only those count.
        quantile: The quantile of the model's time.
        slowdowns: For each measurement, by how much the reference model was slower than is normal
            on a quiet machine, as the logarithm of the factor; 0 where that is not known.
        between_runs: The standard deviation of the logarithm between runs of models of one size;
            None for `BETWEEN_RUNS`, that of the machines on which this was developed.
    """
    medians, within = _runs(measurements, 0.5)
    values, errors = (medians, within) if quantile == 0.5 else _runs(measurements, quantile)
    counted = np.isfinite(within)
    if not counted.any():
        return RepeatableRatio(value=math.exp(float(np.median(values))), interval=None)
    medians, within, values, errors = (each[counted] for each in (medians, within, values, errors))
    phase = measurements[0].workload.phase
    usual = BETWEEN_RUNS[phase] if between_runs is None else between_runs
    scatter = _between(float(np.median(medians)), usual, phase)
    runs = zip(measurements, slowdowns, strict=True)
    hidden = np.array([hidden_error(*run) for run in runs])[counted]
    # The same weights for every quantile, so that none is below the median.
    weights = 1 / (within**2 + scatter**2 + hidden**2)
    weights /= weights.sum()
    mean = float(weights @ values)
    if not np.isfinite(errors).all():
        return RepeatableRatio(value=math.exp(mean), interval=None)
    reach = NORMAL_975 * _error_of_mean(values, weights, np.hypot(errors, scatter), hidden)
    return RepeatableRatio(
        value=math.exp(mean),
        interval=Interval(low=math.exp(mean - reach), high=math.exp(mean + reach)),
    )


def repeat_variance(earlier: Measurement, later: Measurement) -> float | None:
    """Estimate the variance between runs from a repeated measurement.

    The estimate of the variance of the logarithm of the ratio is unbiased, and may therefore be
    negative.

    Args:
        earlier: A measurement with a reference.
        later: A measurement of the same workload of the same two models, loaded again.

    Returns:
        The variance; None if other load disturbed one of them, or one has no interval.
    """
    runs = (earlier, later)
    (first, second), errors = _runs(runs, 0.5)
    hidden = max(hidden_error(each, 0.0) for each in runs)
    if hidden > BETWEEN_RUNS[earlier.workload.phase] or not np.isfinite(errors).all():
        return None
    within = sum(_variance_within(_log_ratios(each, 0.5)) for each in runs)
    return float((first - second) ** 2 - within) / 2


def own_time(measurement: Measurement, slowdown: float = 0.0) -> OwnTime:
    """Return the median time of a measured model itself.

    Args:
        measurement: The measurement, such as that of a reference model.
        slowdown: By how much it was slower than is normal on a quiet machine, as a logarithm.
    """
    estimate = estimate_logs(log_quantiles(measurement, 0.5))
    error = math.hypot(estimate.log_error, hidden_error(measurement, slowdown))
    return OwnTime(milliseconds=estimate.value / 1e6, error=error)


def hidden_error(measurement: Measurement, slowdown: float) -> float:
    """Return the suspected effect of other load that no clock of the measured process shows.

    It is a standard error of the logarithm. Processes on the same core replace the contents of its
    caches; those on other cores share a cache and the memory.

    Args:
        measurement: The measurement.
        slowdown: By how much its reference model was slower than is normal, as a logarithm.
    """
    phase, disturbance = measurement.workload.phase, measurement.disturbance
    waiting = measurement.waiting_share
    if waiting is None:
        waiting = 0.0 if disturbance is None else disturbance.beside + disturbance.steal
    elsewhere = 0.0 if disturbance is None else disturbance.elsewhere
    busy_cores = min(1.0, max(0.0, elsewhere - _NEGLIGIBLE))
    unreserved = disturbance is not None and not disturbance.reserved
    return math.hypot(
        _SHARED_CORE[phase] * waiting,
        _SHARED_MEMORY[phase] * busy_cores,
        _UNRESERVED * unreserved,
        slowdown,
    )


def _runs(
    measurements: Sequence[Measurement], quantile: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the logarithm of the ratio in each run, and its standard error within the run."""
    values, errors = zip(*(_one_run(each, quantile) for each in measurements), strict=True)
    return np.array(values), np.array(errors)


def has_long_windows(measurement: Measurement) -> bool:
    """Return whether each window has enough samples for a 95 % quantile of its own."""
    return bool(_warm_samples(measurement).shape[1] >= _FEWEST_FOR_TAIL)


def _one_run(measurement: Measurement, quantile: float) -> tuple[float, float]:
    if quantile != 0.5 and not has_long_windows(measurement):
        # A quantile over all windows, each corrected for the drift that the reference shows.
        reference = _log_reference(measurement)
        drift = reference - np.median(reference)
        logs = np.log(_warm_samples(measurement)) - drift[:, None]
        tail = float(np.quantile(logs, quantile)) - float(np.median(reference))
        return tail, _tail_error(logs, quantile)
    estimate = estimate_logs(_log_ratios(measurement, quantile))
    return math.log(estimate.value), estimate.log_error


def _tail_error(logs: NDArray[np.float64], quantile: float) -> float:
    """Return the standard error of a quantile of normally distributed values.

    It is infinite for few values, whose largest ones show little about the distribution.
    """
    if logs.size < _FEWEST_FOR_TAIL:
        return math.inf
    density = math.exp(-(float(ndtri(quantile)) ** 2) / 2) / math.sqrt(2 * math.pi)
    spread = float(logs.std(ddof=1))
    return spread * math.sqrt(quantile * (1 - quantile) / logs.size) / density


def _log_ratios(measurement: Measurement, quantile: float) -> NDArray[np.float64]:
    """Return the logarithm of each window's quantile over its reference's median."""
    return log_quantiles(measurement, quantile) - _log_reference(measurement)


def _log_reference(measurement: Measurement) -> NDArray[np.float64]:
    assert measurement.reference is not None
    return log_quantiles(measurement.reference, 0.5)


def _warm_samples(measurement: Measurement) -> NDArray[np.float64]:
    running = running_ns(measurement.samples_ns, measurement.waited_ns)
    return warm(running.reshape(-1, measurement.window or 1))


def _between(log_ratio: float, between_runs: float, phase: Phase) -> float:
    beyond = abs(log_ratio) - math.log(_ONE_SIZE)
    share = min(1.0, max(0.0, beyond / math.log(_OTHER_SIZE / _ONE_SIZE)))
    return math.hypot(between_runs, _BETWEEN_SIZES[phase] * share)


def _error_of_mean(
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    own: NDArray[np.float64],
    hidden: NDArray[np.float64],
) -> float:
    """Return the standard error of the weighted mean of several runs.

    Each run has an error of its own, which more runs reduce. It counts for more if the values
    scatter too much (Birge 1932). Other load shifts all runs alike, so that more of them do not
    help.
    """
    error = math.sqrt(weights**2 @ own**2)
    if len(values) > 1:
        squares = (values - weights @ values) ** 2 / (own**2 + hidden**2)
        error *= max(1.0, math.sqrt(squares.sum() / (len(values) - 1)))
    return math.hypot(error, weights @ hidden)


def _variance_within(logs: NDArray[np.float64]) -> float:
    """Return the variance of the estimate of one run.

    It is that of the jackknife, which leaves out consecutive windows together because they are
    correlated (Künsch 1989, "The jackknife and the bootstrap for general stationary observations").
    The interval of a few windows is wide on purpose and would be a biased estimate.
    """
    parts = np.array_split(np.arange(len(logs)), min(len(logs), _MOST_PARTS))
    rest = [math.log(estimate_logs(np.delete(logs, part)).value) for part in parts]
    return float(np.var(rest)) * (len(parts) - 1)
