"""Times with the measured ratios that they were computed from, and a reference model of 10 ms."""

import math
from dataclasses import replace

from evaluators.calibration import Calibration, CalibrationKey, ReferenceTiming
from evaluators.evaluator import CalibratedRatio, Score
from hardware.measurement import Interval
from studies.records import Trial
from studies.storage.store import Store
from tests.studies.storage.timed_trials import replace_stored

DECODE = CalibrationKey(device="board", reference="0" * 16, workload="tg64@1024")
AT = 1_900_000_000.0


def calibration(*, half_width: float = 0.02) -> Calibration:
    """The time of the reference model from 12 timings: 10 ms, with an interval of ±2 %."""
    timing = ReferenceTiming(at=AT, milliseconds=10.0, error=0.01)
    return Calibration(
        key=DECODE,
        milliseconds=10.0,
        interval=Interval(low=10 * math.exp(-half_width), high=10 * math.exp(half_width)),
        timings=tuple(replace(timing, at=AT + place) for place in range(12)),
    )


def calibrated(
    score: Score,
    *,
    half_width: float | None = 0.01,
    provisional: bool = False,
    known: Calibration | None = None,
) -> Score:
    """Compute the interval of a time from that of its ratio, as a LatencyEvaluator does.

    Args:
        score: The time, in ms.
        half_width: Half the width of the interval of the ratio on a log scale; None for none.
        provisional: Whether it is provisional.
        known: The time of the reference model.
    """
    known = known or calibration()
    ratio = score.value / known.milliseconds
    low, high = (
        (None, None)
        if half_width is None
        else (ratio * math.exp(-half_width), ratio * math.exp(half_width))
    )
    value, low_ms, high_ms = known.convert(ratio, low, high)
    measured = CalibratedRatio(calibration=known.key, ratio=ratio, low=low, high=high)
    return replace(
        score, value=value, low=low_ms, high=high_ms, provisional=provisional, measured=measured
    )


def with_calibrated(
    trial: Trial, *names: str, half_width: float | None = 0.01, provisional: bool = False
) -> Trial:
    """Return a trial in which the scores of these names are times with ratios."""
    scores = tuple(
        calibrated(score, half_width=half_width, provisional=provisional)
        if score.name in names
        else score
        for score in trial.scores
    )
    return replace(trial, scores=scores)


def make_provisional(store: Store, trial: Trial) -> None:
    """Replace the decode time of an ended trial of a `LargeStudy` by an uncertain one.

    Its value stays the same.
    """
    assert trial.model is not None
    store.add_timings({DECODE: calibration().timings[0]})
    known = store.calibration(DECODE)
    assert known is not None
    architecture = store.architecture(trial.model.hash)
    evaluation = store.load_evaluation("latency 1", architecture)
    assert evaluation is not None
    scores = tuple(
        calibrated(score, half_width=0.3, provisional=True, known=known)
        if score.name == "decode"
        else score
        for score in evaluation.scores
    )
    replace_stored(store, "latency 1", architecture, replace(evaluation, scores=scores))
