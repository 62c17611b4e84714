"""The tests that every CalibrationStore must pass, as a class to inherit."""

from dataclasses import replace

import pytest

from evaluators.calibration import CalibrationKey, CalibrationStore, ReferenceTiming, calibrate

DECODE = CalibrationKey(device="int4 board", reference="a1b2", workload="tg64@512")
PREFILL = replace(DECODE, workload="pp512")


def timing(
    milliseconds: float, error: float = 0.0, *, at: float = 0.0, governor: str | None = None
) -> ReferenceTiming:
    return ReferenceTiming(at=at, milliseconds=milliseconds, error=error, governor=governor)


class CalibrationStoreConformance:
    """The contract of `CalibrationStore`. A subclass provides a fixture `calibrations`."""

    @pytest.fixture
    def calibrations(self) -> CalibrationStore:
        raise NotImplementedError

    def test_a_reference_model_that_was_never_timed_has_no_calibration(self, calibrations):
        calibrations.add_timings({DECODE: timing(10.0)})
        for other in (
            PREFILL,
            replace(DECODE, device="int8 board"),
            replace(DECODE, reference="c3d4"),
        ):
            assert calibrations.calibration(other) is None

    def test_every_timing_counts(self, calibrations):
        timings = [timing(10.0, 0.01, at=1e9 / 3), timing(11.0, 0.02), timing(9.0, 0.5)]
        for each in timings:
            calibrations.add_timings({DECODE: each, PREFILL: replace(each, milliseconds=500.0)})
        found = calibrations.calibration(DECODE)
        assert found.timings == tuple(timings)
        # A store may leave the estimate as it is if it would change by less than half a percent.
        exact = calibrate(DECODE, timings)
        assert found.milliseconds == pytest.approx(exact.milliseconds, rel=0.005)
        assert found.error == pytest.approx(exact.error, rel=0.15)
        assert calibrations.calibration(PREFILL).milliseconds == pytest.approx(500.0)

    def test_timings_without_scores_change_nothing_to_report(self, calibrations):
        for milliseconds in (10.0, 20.0):
            assert calibrations.add_timings({DECODE: timing(milliseconds)}) == ()

    def test_repeats_add_up_and_survive_further_timings(self, calibrations):
        calibrations.add_timings({DECODE: timing(10.0), PREFILL: timing(500.0)})
        calibrations.add_repeat(DECODE, 0.5)
        calibrations.add_repeat(DECODE, -0.125)
        calibrations.add_timings({DECODE: timing(20.0)})
        found = calibrations.calibration(DECODE)
        assert (found.repeats, found.variance) == (2, 0.375)
        assert calibrations.calibration(PREFILL).repeats == 0
