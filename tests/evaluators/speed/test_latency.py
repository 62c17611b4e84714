"""Latency and memory scores: on this machine, against a formula, and for failures."""

import contextlib
import errno
import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.calibration import CalibrationKey, CalibrationsInMemory, ReferenceTiming
from evaluators.evaluator import Evaluation, EvaluationFailed, Infeasible
from evaluators.speed.latency import LatencyEvaluator
from hardware.fake import FakeRunner
from hardware.local import LocalRunner
from hardware.progress import Say
from hardware.quiet import Reservation
from hardware.runner import LoadedModel, RunnerError
from hardware.window_statistics import ratio
from search_space.architecture import architecture_hash
from search_space.costs import weight_bytes
from search_space.preset_models import preset
from studies.records import TRANSIENT_FAILURES
from tests.evaluators.conformance import RefinableConformance
from tests.evaluators.speed.timing import (
    REFERENCE,
    SETTINGS,
    CountingRunner,
    by_name,
    evaluate,
    evaluator_of,
    failure,
    refine,
)
from tests.search_space.strategies import ATTENTION, CONV, CORNERS, LINEAR, stack

SMALL, LARGE = preset("smollm2-135m"), preset("lfm2-350m")


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.name: score.value for score in evaluation.scores}


def half_width(low: float, high: float) -> float:
    return math.log(high / low) / 2


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """One evaluator for all tests; the model that it keeps loaded must not affect them."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        # No test depends on the precision of these times.
        patch.setattr("hardware.turns._WINDOW_NS", 2e6)
        with evaluator_of(LocalRunner()) as evaluator:
            yield evaluator
    assert not list(folder.iterdir())
    assert not children()


class TestLocalLatency:
    def test_scores_follow_from_the_measurements_of_the_evaluation(self, local):
        evaluation = evaluate(local, stack(CONV, ATTENTION, None))
        decode, prefill = evaluation.measurements
        assert [str(decode.workload), str(prefill.workload)] == ["tg64@16", "pp8"]
        scores = by_name(evaluation)
        measured, of_run = scores["decode"].measured, ratio(decode)
        assert measured.ratio == pytest.approx(of_run.value)
        # Another run would scatter more than the windows of this one.
        assert half_width(measured.low, measured.high) >= half_width(of_run.low, of_run.high)
        # Two ratios with independent errors: the intervals are in order, but the values may not be.
        assert scores["decode_p95"].high >= scores["decode"].low > 0
        # In MB: the model's few kilobytes and its memory arenas, without the interpreter.
        assert 0 <= scores["decode_memory"].value < scores["memory"].value + 1 < 50
        assert 0 < scores["size"].value < 1
        assert {name: score.unit for name, score in scores.items()} == {
            "decode": "ms/token",
            "decode_p95": "ms/token",
            "prefill": "ms",
            "prefill_p95": "ms",
            "memory": "MB",
            "decode_memory": "MB",
            "prefill_memory": "MB",
            "size": "MB",
        }
        waits = {each.disturbance.waited_s for each in (decode, prefill) if each.disturbance}
        assert waits <= {12.0}

    @pytest.mark.parametrize("name", ["every mixer", "no mixer at all", "window above any context"])
    def test_corner_layouts_are_measured(self, local, name):
        assert evaluate(local, CORNERS[name]).scores

    def test_a_reference_that_was_killed_is_loaded_again(self, local):
        evaluate(local, CORNERS["one layer"])
        (process,) = children()
        os.kill(process, signal.SIGKILL)
        assert evaluate(local, CORNERS["one layer"]).scores
        assert process not in children()

    def test_a_candidate_that_was_killed_is_measured_again(self, local):
        evaluate(local, CORNERS["one layer"])
        (reference,) = children()
        with killing(apart_from=reference, times=2) as killed:
            evaluation = evaluate(local, CORNERS["one layer"])
        assert len(set(killed)) == 2
        assert evaluation.scores
        remarks = [text for text in evaluation.remarks if "killed" in text]
        assert remarks == 2 * [
            "the candidate's process was killed, so its measurement was repeated: another program "
            "ended the process (SIGKILL)"
        ]
        assert children() == {reference}

    def test_a_candidate_that_is_killed_every_time_is_reported_as_killed(self, local):
        evaluate(local, CORNERS["one layer"])
        (reference,) = children()
        with (
            killing(apart_from=reference, times=1_000) as killed,
            pytest.raises(EvaluationFailed) as caught,
        ):
            evaluate(local, CORNERS["one layer"])
        assert caught.value.kind in TRANSIENT_FAILURES
        assert "another program ended the process (SIGKILL)" in caught.value.reason
        assert len(set(killed)) == 3
        assert children() == {reference}


class TestFakeLatency(RefinableConformance):
    @pytest.fixture
    def evaluator(self):
        with evaluator_of(FakeRunner(), replace(SETTINGS, more_depths=(0, 64))) as evaluator:
            yield evaluator


class TestScores:
    """Scores on the fake device: 0.1 us for each kilobyte of weights and token of context."""

    def test_times_are_those_of_the_device(self):
        settings = replace(SETTINGS, more_depths=(10_000,))
        with evaluator_of(FakeRunner(), settings, reference=SMALL) as evaluator:
            found = values(evaluate(evaluator, LARGE))
        kilobytes = weight_bytes(LARGE, "int4") // 1_000
        assert found["decode"] == pytest.approx(kilobytes * 1e-4, rel=0.03)
        assert found["decode@10000"] == pytest.approx((kilobytes + 1e4) * 1e-4, rel=0.03)
        assert found["prefill"] == pytest.approx(8 * kilobytes * 1e-4, rel=0.03)
        assert found["decode_p95"] > found["decode"]
        # The fake device holds its weights, and a kilobyte per token of context.
        assert found["memory"] == pytest.approx(kilobytes / 1e3 + 10, rel=1e-3)
        assert found["decode_memory"] == pytest.approx(0.016)
        assert found["prefill_memory"] == 0

    def test_milliseconds_are_the_ratio_times_the_calibrated_time_of_the_reference(self):
        """A hundred earlier timings say that the reference model takes a millisecond."""
        calibrations = CalibrationsInMemory()
        with evaluator_of(FakeRunner(), reference=SMALL, calibrations=calibrations) as evaluator:
            key = by_name(evaluate(evaluator, SMALL))["decode"].measured.calibration
            earlier = ReferenceTiming(at=0.0, milliseconds=1.0, error=0.0)
            for _ in range(100):
                calibrations.add_timings({key: earlier})
            scores = by_name(evaluate(evaluator, LARGE))
        calibration = calibrations.calibration(key)
        assert calibration.milliseconds == pytest.approx(1.0, rel=0.1)
        for name in ("decode", "decode_p95"):
            score, measured = scores[name], scores[name].measured
            assert measured.calibration == key
            assert measured.ratio == pytest.approx(
                weight_bytes(LARGE, "int4") / weight_bytes(SMALL, "int4"), rel=0.03
            )
            assert (score.value, score.low, score.high) == calibration.convert(
                measured.ratio, measured.low, measured.high
            )
        assert scores["size"].measured is None

    def test_a_calibration_is_that_of_a_device_a_reference_and_a_workload(self):
        calibrations = CalibrationsInMemory()
        found = []
        for runner, settings, reference in (
            (FakeRunner(), SETTINGS, REFERENCE),
            (FakeRunner(), replace(SETTINGS, prompt_length=4), REFERENCE),
            (FakeRunner(), replace(SETTINGS, quantization="int8"), REFERENCE),
            (FakeRunner(), SETTINGS, SMALL),
        ):
            with evaluator_of(
                runner, settings, reference=reference, calibrations=calibrations
            ) as evaluator:
                found.append(by_name(evaluate(evaluator, LARGE)))
        decode, shorter, int8, small = (each["decode"].measured.calibration for each in found)
        assert decode == CalibrationKey(
            device="int4 fake", reference=architecture_hash(REFERENCE), workload="tg64@16"
        )
        assert shorter == decode  # the prompt length does not matter to decoding
        assert len({decode, int8, small}) == 3
        prefill = [each["prefill"].measured.calibration for each in found]
        assert [key.workload for key in prefill] == ["pp8", "pp4", "pp8", "pp8"]
        assert len(calibrations.calibration(decode).timings) == 2
        assert len(calibrations.calibration(prefill[0]).timings) == 1

    def test_a_reference_timed_against_itself_has_a_ratio_of_one(self):
        with evaluator_of(FakeRunner(), reference=SMALL) as evaluator:
            evaluation = evaluate(evaluator, SMALL)
        for measurement in evaluation.measurements:
            assert ratio(measurement).value == pytest.approx(1, rel=0.03)
            assert measurement.reference is not None

    @pytest.mark.parametrize("score", ["decode@64", "prefill_per_byte"])
    def test_requested_scores_are_timed_for_longer(self, score):
        settings = replace(
            SETTINGS, more_depths=(64,), asked=frozenset({score, "loss"}), precision=1e-4
        )
        with evaluator_of(FakeRunner(), replace(settings, seconds=0.5)) as evaluator:
            measurements = evaluate(evaluator, LARGE).measurements
        windows = {str(each.workload): len(each.samples_ns) // each.window for each in measurements}
        asked = windows.pop("pp8" if "prefill" in score else "tg64@64")
        assert asked > 2 * max(windows.values())


class TestAMachineThatIsNotReserved:
    """Another measurement, or training, has not released it in time."""

    OBSTACLE = "another measurement on this machine has not ended within 600 s (`nas`, pid 7)"

    def evaluation(self, obstacle: str | None) -> Evaluation:
        def quiet(_: Say) -> contextlib.AbstractContextManager[Reservation]:
            return contextlib.nullcontext(Reservation(waited_s=600.0, obstacle=obstacle))

        store = CalibrationsInMemory()
        runner, settings = FakeRunner(), replace(SETTINGS, precision=0.2)
        with LatencyEvaluator(runner, settings, REFERENCE, store, quiet) as evaluator:
            return evaluate(evaluator, SMALL)

    def test_makes_all_times_provisional_and_no_others(self):
        scores = by_name(self.evaluation(self.OBSTACLE))
        timed = {name for name, score in scores.items() if score.measured is not None}
        assert timed == {"decode", "decode_p95", "prefill", "prefill_p95"}
        assert {name for name, score in scores.items() if score.provisional} == timed
        reserved = by_name(self.evaluation(None))
        assert not any(reserved[name].provisional for name in ("decode", "decode_p95", "prefill"))

    def test_is_recorded_with_every_measurement_and_reported(self):
        evaluation = self.evaluation(self.OBSTACLE)
        for measurement in evaluation.measurements:
            for each in (measurement, measurement.reference):
                assert not each.disturbance.reserved
        assert [text for text in evaluation.remarks if self.OBSTACLE in text] == [
            f"{self.OBSTACLE}; the times that were measured meanwhile are provisional"
        ]

    def test_matters_no_more_once_the_model_was_measured_on_a_reserved_one(self):
        obstacles = [self.OBSTACLE, None]

        def quiet(_: Say) -> contextlib.AbstractContextManager[Reservation]:
            return contextlib.nullcontext(Reservation(waited_s=0.0, obstacle=obstacles.pop(0)))

        runner, settings = FakeRunner(), replace(SETTINGS, precision=0.2)
        store = CalibrationsInMemory()
        with LatencyEvaluator(runner, settings, REFERENCE, store, quiet) as evaluator:
            first = evaluate(evaluator, SMALL)
            assert by_name(first)["decode"].provisional
            again = refine(evaluator, SMALL, first)
        assert not by_name(again)["decode"].provisional


class TestFailures:
    @pytest.mark.parametrize(
        ("architecture", "field"),
        [
            (stack(CONV, embedding_width=16), "embedding_width: 16 is not"),
            (stack(replace(ATTENTION, head_dim=24)), "head_dim: 24 is not"),
        ],
    )
    def test_a_model_that_the_format_cannot_hold_is_a_build_error(self, architecture, field):
        error = failure(evaluator_of(FakeRunner()), architecture)
        assert error.kind == "build error"
        assert error.reason.startswith(field)

    def test_a_full_disk_is_a_build_error(self, monkeypatch):
        def full(*_args, **_options):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Path, "write_bytes", full)
        error = failure(evaluator_of(FakeRunner()))
        assert error.kind == "build error"
        assert error.reason.endswith(" cannot be written (No space left on device)")

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("out of memory", "out of memory"),
            ("timed out", "timed out"),
            ("refused", "build error"),
            ("crashed", "device lost"),
        ],
    )
    def test_a_failure_of_a_candidate_has_its_reason(self, kind, expected):
        error = failure(evaluator_of(FailingRunner(RunnerError(kind, "the last it said"))))
        assert error.kind == expected
        assert error.reason == "the last it said"

    def test_a_bug_in_a_runner_is_not_a_failure_of_the_candidate(self):
        evaluator = evaluator_of(FailingRunner(ValueError("a bug")))
        with evaluator, pytest.raises(ValueError, match="a bug"):
            evaluate(evaluator, REFERENCE)

    def test_an_unsupported_architecture_is_infeasible_and_loads_nothing(self):
        runner = CountingRunner()
        runner.model_format = "gguf"
        with evaluator_of(runner) as evaluator, pytest.raises(Infeasible) as caught:
            evaluate(evaluator, stack(CONV, LINEAR, ATTENTION))
        assert "linear attention" in str(caught.value)
        assert runner.loaded == 0


class FailingRunner(FakeRunner):
    """Loads a reference model, and then fails."""

    def __init__(self, error: Exception) -> None:
        self.errors = [None, error]

    @contextlib.contextmanager
    def load(self, model: Path, capacity: int) -> Iterator[LoadedModel]:
        error = self.errors.pop(0)
        if error is not None:
            raise error
        with super().load(model, capacity) as loaded:
            yield loaded


class GgufRunner(FakeRunner):
    """Records the first bytes of each file that it loads."""

    model_format = "gguf"

    def __init__(self) -> None:
        self.first_bytes: list[bytes] = []

    @contextlib.contextmanager
    def load(self, model: Path, capacity: int) -> Iterator[LoadedModel]:
        self.first_bytes.append(model.read_bytes()[:4])
        model.with_name("model.json").write_text('{"data_bytes": 1000000}')
        with super().load(model, capacity) as loaded:
            yield loaded


@pytest.mark.parametrize("quantization", ["fp16", "int8", "int4"])
def test_a_runtime_gets_a_file_in_its_format(quantization):
    runner = GgufRunner()
    model = stack(CONV, replace(ATTENTION, heads=2))
    settings = replace(SETTINGS, quantization=quantization)
    with evaluator_of(runner, settings, reference=model) as evaluator:
        assert evaluate(evaluator, model).scores
    assert runner.first_bytes == [b"GGUF"] * 2


def test_a_quantization_that_the_format_does_not_support_is_a_build_error():
    error = failure(evaluator_of(FakeRunner(), replace(SETTINGS, quantization="fp16")))
    assert error.reason == "quantization: 'fp16' is not supported by onnx"


def test_the_fingerprint_depends_on_settings_reference_and_device():
    settings = [
        SETTINGS,
        replace(SETTINGS, quantization="int8"),
        replace(SETTINGS, prompt_length=9),
        replace(SETTINGS, context_depth=17),
        replace(SETTINGS, more_depths=(64,)),
        replace(SETTINGS, asked=frozenset({"decode"})),
        replace(SETTINGS, precision=0.04),
        replace(SETTINGS, seconds=0.3),
        replace(SETTINGS, asked=frozenset({"decode_p95", "prefill"})),
    ]
    fingerprints = {evaluator_of(FakeRunner(), one).fingerprint for one in settings}
    fingerprints.add(evaluator_of(LocalRunner()).fingerprint)
    fingerprints.add(evaluator_of(FakeRunner(), reference=SMALL).fingerprint)
    assert len(fingerprints) == len(settings) + 2
    same = replace(SETTINGS, asked=frozenset({"decode", "prefill_per_byte", "loss", "memory"}))
    assert evaluator_of(FakeRunner(), same).fingerprint in fingerprints


def test_a_score_of_memory_asks_for_no_precise_time():
    """A study that limits the memory of decoding keeps the fingerprint that it always had."""
    time_only = replace(SETTINGS, asked=frozenset({"prefill"}))
    with_memory = replace(SETTINGS, asked=frozenset({"prefill", "decode_memory", "memory"}))
    fingerprints = {evaluator_of(FakeRunner(), one).fingerprint for one in (time_only, with_memory)}
    assert len(fingerprints) == 1


@contextlib.contextmanager
def killing(*, apart_from: int, times: int) -> Iterator[list[int]]:
    """Kill each new process of this one as soon as it is seen; yield those that were killed."""
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while not over.is_set() and len(killed) < times:
            for process in children() - {apart_from, *killed}:
                os.kill(process, signal.SIGKILL)
                killed.append(process)
            time.sleep(0.005)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def children() -> set[int]:
    """Return the running processes that this one has started."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(process) for task in tasks for process in task.read_text().split()}
