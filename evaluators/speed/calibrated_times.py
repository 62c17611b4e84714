"""The ratios of models' times to that of a reference model, and the reference model's own time.

Both come from the same measurements. A reference model that took longer than usual also shows that
other load affected a measurement; see `hardware.repeatability.hidden_error`.
"""

from collections.abc import Sequence

from evaluators.calibration import (
    Calibration,
    CalibrationKey,
    CalibrationStore,
    ReferenceTiming,
)
from hardware.measurement import Measurement, Workload
from hardware.repeatability import RepeatableRatio, own_time, repeat_variance, repeatable_ratio

# The fraction of the requested precision that one run is to reach: the interval of a result also
# covers the scatter between runs.
WITHIN_RUN = 0.5
# The standard error of the logarithm of a timing that has too few windows for an interval.
_LARGEST_ERROR = 0.5


class CalibratedTimes:
    """Estimates ratios and the reference model's time from measurements on one device.

    All measurements are interleaved with one reference model. `calibration` and `ratio` require
    that `add` has received a measurement of the same workload.
    """

    def __init__(self, calibrations: CalibrationStore, *, device: str, reference: str) -> None:
        """Choose the reference model.

        Args:
            calibrations: Stores the timings of reference models.
            device: The fingerprint of the runner, with the quantisation of the weights.
            reference: The hash of the reference model's architecture.
        """
        self._calibrations = calibrations
        self._device = device
        self._reference = reference

    def key(self, workload: Workload) -> CalibrationKey:
        """Return what the calibration of a workload is stored under."""
        return CalibrationKey(
            device=self._device, reference=self._reference, workload=str(workload)
        )

    def add(self, measurements: Sequence[Measurement]) -> tuple[str, ...]:
        """Learn the reference model's time from measurements that were interleaved with it.

        Args:
            measurements: Measurements of different workloads.

        Returns:
            What changed, as sentences for the user; empty if nothing changed noticeably.
        """
        changes = self._calibrations.add_timings(
            {self.key(each.workload): self._timing(each) for each in measurements}
        )
        return tuple(str(change) for change in changes)

    def learn_from_repeats(
        self, earlier: Sequence[Measurement], later: Sequence[Measurement]
    ) -> None:
        """Learn how far the ratios of repeated measurements differ on this device.

        Args:
            earlier: Measurements of a model, in chronological order.
            later: Measurements of the same model, loaded again.
        """
        last = {each.workload: each for each in earlier}
        for measurement in later:
            known = last.get(measurement.workload)
            variance = None if known is None else repeat_variance(known, measurement)
            if variance is not None:
                self._calibrations.add_repeat(self.key(measurement.workload), variance)

    def calibration(self, workload: Workload) -> Calibration:
        """Return the estimate of the reference model's time at a workload."""
        calibration = self._calibrations.calibration(self.key(workload))
        assert calibration is not None, "`add` has received measurements of this workload"
        return calibration

    def ratio(self, runs: Sequence[Measurement], quantile: float = 0.5) -> RepeatableRatio:
        """Estimate the ratio of a model's time to the reference model's median time.

        Args:
            runs: Measurements of one workload of one model, which was loaded again for each.
            quantile: The quantile of the model's time.
        """
        return repeatable_ratio(
            runs,
            quantile=quantile,
            slowdowns=[self._slowdown(_reference_of(run)) for run in runs],
            between_runs=self.calibration(runs[0].workload).between_runs,
        )

    def _timing(self, measurement: Measurement) -> ReferenceTiming:
        reference = _reference_of(measurement)
        own = own_time(reference, self._slowdown(reference))
        assert reference.measured_at is not None, "this release records it"
        return ReferenceTiming(
            at=reference.measured_at,
            milliseconds=own.milliseconds,
            error=min(own.error, _LARGEST_ERROR),
            governor=reference.environment.governor,
        )

    def _slowdown(self, reference: Measurement) -> float:
        calibration = self._calibrations.calibration(self.key(reference.workload))
        return (
            0.0 if calibration is None else calibration.slowdown(own_time(reference).milliseconds)
        )


def _reference_of(measurement: Measurement) -> Measurement:
    assert measurement.reference is not None
    return measurement.reference
