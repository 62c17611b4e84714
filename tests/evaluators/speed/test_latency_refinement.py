"""Latency that is measured again when the machine is quieter."""

from dataclasses import replace

import pytest

from evaluators.calibration import CalibrationsInMemory
from hardware.fake import FakeRunner
from tests.evaluators.speed.timing import (
    SETTINGS,
    SharedRunner,
    by_name,
    evaluate,
    evaluator_of,
    refine,
)
from tests.search_space.strategies import ATTENTION, CONV, stack

# About as large as the reference model.
SIMILAR = stack(CONV, ATTENTION, None)


def decode_alone() -> float:
    """Return the time per token on the same device without other programs, in ms."""
    with evaluator_of(FakeRunner()) as evaluator:
        return by_name(evaluate(evaluator, SIMILAR))["decode"].value


def test_a_time_under_load_is_provisional_until_it_is_measured_again():
    runner, calibrations = SharedRunner(slowdown=1.1), CalibrationsInMemory()
    settings = replace(SETTINGS, more_depths=(64,))
    with evaluator_of(runner, settings, calibrations=calibrations) as evaluator:
        loaded = by_name(first := evaluate(evaluator, SIMILAR))
        key = loaded["decode"].measured.calibration
        assert not calibrations.calibration(key).is_settled
        runner.is_shared = False
        quiet = by_name(refine(evaluator, SIMILAR, first))
    for name in ("decode", "decode_p95", "decode@64"):
        assert loaded[name].provisional
        assert not quiet[name].provisional
    assert not any(loaded[name].provisional for name in ("memory", "size"))
    assert quiet["decode"].value == pytest.approx(decode_alone(), rel=0.03)
    assert calibrations.calibration(key).is_settled


def test_the_time_of_waiting_does_not_count():
    with evaluator_of(SharedRunner()) as evaluator:
        score = by_name(evaluate(evaluator, SIMILAR))["decode"]
    assert score.value == pytest.approx(decode_alone(), rel=0.03)


def test_an_imprecise_time_is_provisional():
    settings = replace(SETTINGS, precision=1e-4)
    with evaluator_of(FakeRunner(), settings) as evaluator:
        assert by_name(evaluate(evaluator, SIMILAR))["decode"].provisional
    with evaluator_of(FakeRunner()) as evaluator:
        assert not by_name(evaluate(evaluator, SIMILAR))["decode"].provisional


def test_each_repeat_shows_how_far_repeats_differ():
    calibrations = CalibrationsInMemory()
    with evaluator_of(FakeRunner(), calibrations=calibrations) as evaluator:
        evaluation = evaluate(evaluator, SIMILAR)
        key = by_name(evaluation)["decode"].measured.calibration
        before = calibrations.calibration(key)
        for _ in range(3):
            evaluation = refine(evaluator, SIMILAR, evaluation)
    after = calibrations.calibration(key)
    assert (before.repeats, after.repeats) == (0, 3)
    assert len(after.timings) == 4
    # The fake device repeats its times, with 1 % of noise per sample.
    assert after.between_runs < before.between_runs


def test_repeats_under_load_show_nothing_about_that():
    calibrations = CalibrationsInMemory()
    with evaluator_of(SharedRunner(), calibrations=calibrations) as evaluator:
        evaluation = evaluate(evaluator, SIMILAR)
        refine(evaluator, SIMILAR, evaluation)
    key = by_name(evaluation)["decode"].measured.calibration
    assert calibrations.calibration(key).repeats == 0


def test_an_evaluation_passes_on_what_changed():
    class Talkative(CalibrationsInMemory):
        def add_timings(self, timings):
            super().add_timings(timings)
            return (f"{len(timings)} timings",)

    with evaluator_of(FakeRunner(), calibrations=Talkative()) as evaluator:
        evaluation = evaluate(evaluator, SIMILAR)
        assert evaluation.remarks == ("2 timings",)
        assert refine(evaluator, SIMILAR, evaluation).remarks == ("2 timings",)


def test_seconds_are_those_of_all_runs():
    with evaluator_of(FakeRunner()) as evaluator:
        first = replace(evaluate(evaluator, SIMILAR), seconds=1_000.0)
        assert refine(evaluator, SIMILAR, first).seconds > 1_000.0


def test_measuring_alone_leaves_the_calibration_alone():
    calibrations = CalibrationsInMemory()
    with evaluator_of(FakeRunner(), calibrations=calibrations) as evaluator:
        key = by_name(evaluate(evaluator, SIMILAR))["decode"].measured.calibration
        evaluator.measure(SIMILAR, lambda _: None)
    assert len(calibrations.calibration(key).timings) == 1
