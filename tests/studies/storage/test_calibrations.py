"""Calibrations in the database, and the stored times that follow them."""

import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import replace

import pytest

from evaluators.calibration import BETWEEN_TIMES, Calibration, calibrate
from evaluators.evaluator import Evaluation, Score
from search_space.architecture import Architecture
from studies.storage.store import Store
from tests.evaluators.calibration_conformance import (
    DECODE,
    PREFILL,
    CalibrationStoreConformance,
    timing,
)
from tests.studies.storage.concurrency import at_once
from tests.studies.storage.timed_trials import ARCHITECTURES, ended, replace_stored, reread, timed

ONE, OTHER, THIRD, FOURTH = ARCHITECTURES
# Timings of the same reference model: on a machine that is busy and known to be, and on a quiet
# one.
BUSY, QUIET = timing(26.0, 0.5), timing(10.0, 0.005)


class TestContract(CalibrationStoreConformance):
    @pytest.fixture
    def calibrations(self, store: Store) -> Store:
        return store


@pytest.fixture
def busy(store: Store) -> Calibration:
    """The calibration of a study that was begun under load."""
    store.add_timings({DECODE: BUSY})
    return calibration_of(store)


def calibration_of(store: Store) -> Calibration:
    found = store.calibration(DECODE)
    assert found is not None
    return found


def loaded(store: Store, architecture: Architecture, fingerprint: str = "latency") -> Evaluation:
    found = store.load_evaluation(fingerprint, architecture)
    assert found is not None
    return found


def expected(store: Store, scores: Iterable[Score]) -> tuple[Score, ...]:
    """Return the scores as they follow from their ratios and the calibrations."""
    found = []
    for score in scores:
        if score.measured is not None:
            calibration = store.calibration(score.measured.calibration)
            assert calibration is not None
            value, low, high = calibration.convert(
                score.measured.ratio, score.measured.low, score.measured.high
            )
            score = replace(score, value=value, low=low, high=high)
        found.append(score)
    return tuple(found)


class TestStoredTimes:
    def test_an_evaluation_is_read_with_its_ratios(self, store: Store, busy: Calibration) -> None:
        evaluation = timed(busy, 0.1 + 0.2, provisional=True)
        bare = replace(evaluation.scores[0], name="prefill", low=None, high=None)
        assert bare.measured is not None
        bare = replace(bare, measured=replace(bare.measured, low=None, high=None))
        evaluation = replace(evaluation, scores=(*evaluation.scores, bare))
        store.save_evaluation("latency", ONE, evaluation)
        assert loaded(store, ONE) == evaluation

    def test_every_time_of_every_study_follows_the_calibration(
        self, store: Store, busy: Calibration
    ) -> None:
        store.add_timings({PREFILL: timing(500.0, 0.005)})
        prefill = store.calibration(PREFILL)
        assert prefill is not None
        store.add_study("theirs", "{}")
        evaluations = {
            "latency": timed(busy, 0.5),
            "text": timed(busy, 130.0, name="decode_per_byte"),
            "prompts": timed(prefill, 0.7, name="prefill"),
        }
        ours = ended(store, ONE, evaluations)
        theirs = ended(store, OTHER, {"latency": timed(busy, 1.5)}, study="theirs")
        store.save_evaluation("again latency", ONE, timed(busy, 0.51))  # a confirmation

        store.add_timings({DECODE: QUIET})
        now = calibration_of(store)
        assert now == calibrate(DECODE, [BUSY, QUIET])
        of_ours = reread(store, ours).scores
        assert [score.value for score in of_ours[::2]] == pytest.approx(
            [0.5 * now.milliseconds, 130.0 * now.milliseconds, 350.0]
        )
        for scores in (
            of_ours,
            reread(store, theirs).scores,
            loaded(store, ONE).scores,
            loaded(store, ONE, "again latency").scores,
        ):
            assert scores == expected(store, scores)
        # Another workload, and what is no time, stay as they were.
        assert of_ours[4:] == evaluations["prompts"].scores
        assert of_ours[1] == evaluations["latency"].scores[1]

    def test_a_study_that_began_under_load_ends_with_the_right_times(
        self, store: Store, busy: Calibration
    ) -> None:
        ratios = dict(zip(ARCHITECTURES, (0.4, 0.9, 1.1, 2.5), strict=True))
        ended(store, ONE, {"latency": timed(busy, ratios[ONE])})
        assert loaded(store, ONE).scores[0].value == pytest.approx(2.6 * 4.0)
        for architecture in ARCHITECTURES[1:]:
            store.add_timings({DECODE: QUIET})
            evaluation = timed(calibration_of(store), ratios[architecture])
            ended(store, architecture, {"latency": evaluation})
        assert calibration_of(store).is_settled
        for architecture, ratio in ratios.items():
            decode = loaded(store, architecture).scores[0]
            assert decode.value == pytest.approx(10.0 * ratio, rel=0.005)
            assert decode.low is not None
            assert decode.high is not None
            assert decode.low < 10.0 * ratio < decode.high < 1.15 * decode.low

    def test_the_change_is_reported_as_a_sentence(self, store: Store, busy: Calibration) -> None:
        ended(store, ONE, {"latency": timed(busy, 0.5)})
        ended(store, OTHER, {"latency": timed(busy, 1.5), "text": timed(busy, 9.0, name="x")})
        (change,) = store.add_timings({DECODE: timing(10.0, 0.0), PREFILL: timing(500.0)})
        assert (change.earlier, change.now) == (busy, calibration_of(store))
        assert change.recomputed == 3
        sentence = str(change)
        reach = math.exp(1.96 * math.hypot(BUSY.error, BETWEEN_TIMES))
        weights = 1 / (BUSY.error**2 + BETWEEN_TIMES**2), 1 / BETWEEN_TIMES**2
        mean = 10.0 * 2.6 ** (weights[0] / sum(weights))
        assert sentence.startswith(f"the reference model takes {mean:.4g} ms (")
        assert sentence.endswith(
            f") for decoding (tg64@512) instead of 26 ms ({26 / reach:.4g} to {26 * reach:.4g}): 3 "
            "stored times were computed again from the measured ratios"
        )

    def test_small_changes_wait_until_they_add_up(self, store: Store) -> None:
        for _ in range(60):
            store.add_timings({DECODE: QUIET})
        before = calibration_of(store)
        trial = ended(store, ONE, {"latency": timed(before, 0.5)})
        slightly_slower = timing(10.3, 0.005)
        for count in range(1, 100):
            assert store.add_timings({DECODE: slightly_slower}) == ()  # not worth reporting
            now = calibration_of(store)
            assert len(now.timings) == min(100, 60 + count)
            if reread(store, trial) != trial:
                break
            assert replace(now, timings=()) == replace(before, timings=())
            assert not calibrate(DECODE, now.timings).differs_noticeably(before)
        assert 2 < count < 20
        assert now == calibrate(DECODE, now.timings)
        assert now.differs_noticeably(before)
        scores = reread(store, trial).scores
        assert scores == expected(store, scores)
        assert scores != trial.scores

    def test_many_small_changes_are_reported_once_they_add_up(self, store: Store) -> None:
        """Each step is below 3 %, compared with the one before."""
        for _ in range(10):
            store.add_timings({DECODE: QUIET})
        ended(store, ONE, {"latency": timed(calibration_of(store), 0.5)})
        changes, shown = [], [calibration_of(store).milliseconds]
        for _ in range(30):
            changes += store.add_timings({DECODE: timing(12.0, 0.005)})
            shown.append(calibration_of(store).milliseconds)
        steps = [math.log(now / before) for before, now in itertools.pairwise(shown)]
        assert max(steps) < 0.03
        # 10 ms becomes 10 * 1.2 ** (30 / 40) = 11.47 ms.
        assert shown[-1] == pytest.approx(11.47, rel=1e-3)
        assert len(changes) == 4  # at +3.3, 6.3, 9.5 and 12.6 % or so
        known = [10.0]
        for change in changes:
            now, before = map(float, re.findall(r"([\d.]+) ms \(", str(change)))
            assert before == pytest.approx(known[-1], rel=1e-3)
            assert now > 1.03 * before
            known.append(now)

    def test_forgetting_the_earlier_timings_is_reported_after_the_next_timing(
        self, store: Store
    ) -> None:
        for milliseconds in (10.0, 10.0, 10.0, 20.0):
            store.add_timings({DECODE: timing(milliseconds, 0.005)})
        before = calibration_of(store)
        ended(store, ONE, {"latency": timed(before, 0.5)})
        store.forget_timings(DECODE)
        assert calibration_of(store).milliseconds == pytest.approx(20.0)
        (change,) = store.add_timings({DECODE: timing(20.0, 0.005)})
        sentence = str(change)
        assert sentence.startswith("the reference model takes 20 ms (")
        assert f" instead of {before.milliseconds:.4g} ms (" in sentence

    def test_a_time_that_was_computed_before_a_change_is_stored_as_after_it(
        self, store: Store, busy: Calibration
    ) -> None:
        late, later = timed(busy, 0.5), timed(busy, 0.6)
        store.add_timings({DECODE: QUIET})
        store.save_evaluation("latency", ONE, late)
        assert loaded(store, ONE).scores == expected(store, late.scores)
        replace_stored(store, "latency", ONE, later)
        assert loaded(store, ONE).scores == expected(store, later.scores) != later.scores

    def test_the_calibrations_that_evaluations_depend_on(
        self, store: Store, busy: Calibration
    ) -> None:
        store.add_timings({PREFILL: timing(500.0)})
        store.save_evaluation("latency", ONE, timed(busy, 0.5))
        assert store.calibrations(["costs", "latency"]) == (busy,)
        assert store.calibrations(["costs"]) == ()


class TestForgetting:
    def test_the_latest_timing_remains_and_decides(self, store: Store) -> None:
        for _ in range(20):
            store.add_timings({DECODE: QUIET, PREFILL: QUIET})
        trial = ended(store, ONE, {"latency": timed(calibration_of(store), 0.5)})
        store.add_repeat(DECODE, 0.5)
        slower = timing(13.0, 0.02, at=7.0)
        store.add_timings({DECODE: slower})
        store.forget_timings(DECODE)
        found = calibration_of(store)
        assert replace(found, repeats=0, variance=0.0) == calibrate(DECODE, [slower])
        assert (found.repeats, found.variance) == (1, 0.5)
        scores = reread(store, trial).scores
        assert scores[0].value == pytest.approx(6.5)
        assert scores == expected(store, scores)
        prefill = store.calibration(PREFILL)
        assert prefill is not None
        assert len(prefill.timings) == 20

    def test_there_may_be_nothing_to_forget(self, store: Store) -> None:
        store.forget_timings(DECODE)
        assert store.calibration(DECODE) is None


class TestConcurrency:
    """Processes that time candidates of one study at the same time."""

    def test_no_timing_and_no_repeat_is_lost(self, store: Store, url: str) -> None:
        def time(other: Store, worker: int) -> None:
            for at in range(20):
                keys = (DECODE, PREFILL) if worker else (PREFILL, DECODE)
                each = timing(10.0 + worker, 0.005, at=100.0 * worker + at)
                other.add_timings(dict.fromkeys(keys, each))
                other.add_repeat(DECODE, 1.0)

        at_once(url, time)
        for key in (DECODE, PREFILL):
            found = store.calibration(key)
            assert found is not None
            ats = sorted(each.at for each in found.timings)
            assert ats == [100.0 * worker + at for worker in range(2) for at in range(20)]
        assert calibration_of(store).repeats == 40

    def test_every_time_follows_the_calibration_in_the_end(
        self, store: Store, url: str, busy: Calibration
    ) -> None:
        def work(other: Store, worker: int) -> None:
            for number, architecture in enumerate(ARCHITECTURES):
                # Each timing moves the estimate noticeably.
                other.add_timings({DECODE: timing(10.0 + 3 * number + worker, 0.005)})
                evaluation = timed(calibration_of(other), 0.5 + number)
                other.save_evaluation("latency", architecture, evaluation)
                replace_stored(other, "latency", architecture, evaluation)

        at_once(url, work)
        for number, architecture in enumerate(ARCHITECTURES):
            scores = loaded(store, architecture).scores
            assert scores == expected(store, scores)
            assert scores[0].measured is not None
            assert scores[0].measured.ratio == 0.5 + number
