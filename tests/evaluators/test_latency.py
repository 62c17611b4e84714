import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.evaluator import EvaluationFailed
from evaluators.latency import LatencyEvaluator, LatencySettings, measure_architecture
from hardware.fake import FakeRunner
from hardware.local import LocalRunner
from hardware.measurement import parse_workload, quantile_ms
from hardware.runner import RunnerError
from tests.evaluators.conformance import EvaluatorConformance
from tests.search_space.strategies import ATTENTION, CONV, CORNERS, stack

SETTINGS = LatencySettings(quantization="int4", prompt_length=8, context_depth=16, decode_tokens=12)


def failure(evaluator: LatencyEvaluator, architecture) -> EvaluationFailed:
    with pytest.raises(EvaluationFailed) as caught:
        evaluator.evaluate(architecture, lambda _: None)
    return caught.value


class TestLocalLatency(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self):
        return LatencyEvaluator(LocalRunner(seconds=0.0), SETTINGS)

    def test_scores_are_the_medians_of_the_measurements_it_hands_on(self, evaluator, architecture):
        evaluation = evaluator.evaluate(architecture, lambda _: None)
        prefill, decode = evaluation.measurements
        assert [str(prefill.workload), str(decode.workload)] == ["pp8", "tg12@16"]
        scores = {score.name: score for score in evaluation.scores}
        assert scores["decode"].value == quantile_ms(decode, 0.5)
        assert scores["prefill"].value == quantile_ms(prefill, 0.5)
        assert scores["decode"].low <= scores["decode"].value <= scores["decode"].high
        assert scores["prefill"].low is None  # three samples bound no median
        # In MB: an interpreter with onnxruntime, and the model's some kilobytes.
        assert 20 < scores["memory"].value < 1000
        assert {name: score.unit for name, score in scores.items()} == {
            "decode": "ms/token",
            "prefill": "ms",
            "memory": "MB",
        }

    @pytest.mark.parametrize("name", ["every mixer", "no mixer at all", "window above any context"])
    def test_corner_layouts_are_measured(self, evaluator, name):
        assert evaluator.evaluate(CORNERS[name], lambda _: None).scores


class TestFakeLatency(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self):
        return LatencyEvaluator(FakeRunner(), SETTINGS)


@pytest.mark.parametrize(
    ("architecture", "field"),
    [
        (stack(CONV, embedding_width=16), "embedding_width: 16 is not"),
        (stack(replace(ATTENTION, head_dim=24)), "head_dim: 24 is not"),
    ],
)
def test_a_model_that_no_file_can_hold_is_a_build_error(architecture, field):
    error = failure(LatencyEvaluator(FakeRunner(), SETTINGS), architecture)
    assert error.kind == "build error"
    assert error.reason.startswith(field)


def test_a_folder_without_room_is_a_build_error(monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    error = failure(LatencyEvaluator(FakeRunner(), SETTINGS), stack(CONV))
    assert error.kind == "build error"
    assert error.reason.endswith(" cannot be written (No space left on device)")


class FailingRunner(FakeRunner):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def measure(self, model, workloads):
        raise self.error


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("out of memory", "out of memory"),
        ("timed out", "timed out"),
        ("refused", "build error"),
        ("crashed", "device lost"),
    ],
)
def test_a_runners_failure_is_told_with_its_reason(kind, expected):
    runner = FailingRunner(RunnerError(kind, "the last it said"))
    error = failure(LatencyEvaluator(runner, SETTINGS), stack(CONV))
    assert error.kind == expected
    assert error.reason == "the last it said"


def test_a_bug_in_a_runner_is_no_property_of_the_candidate():
    evaluator = LatencyEvaluator(FailingRunner(ValueError("a bug")), SETTINGS)
    with pytest.raises(ValueError, match="a bug"):
        evaluator.evaluate(stack(CONV), lambda _: None)


def test_the_fingerprint_tells_settings_and_devices_apart():
    settings = [
        SETTINGS,
        replace(SETTINGS, quantization="int8"),
        replace(SETTINGS, prompt_length=9),
        replace(SETTINGS, context_depth=17),
        replace(SETTINGS, decode_tokens=13),
    ]
    prints = {LatencyEvaluator(FakeRunner(), one).fingerprint for one in settings}
    prints.add(LatencyEvaluator(LocalRunner(), SETTINGS).fingerprint)
    assert len(prints) == len(settings) + 1


def test_any_workloads_of_an_architecture_can_be_measured():
    workloads = tuple(map(parse_workload, ("tg2@30", "pp4")))
    measurements = measure_architecture(
        LocalRunner(seconds=0.0), CORNERS["every mixer"], "fp32", workloads
    )
    assert tuple(measurement.workload for measurement in measurements) == workloads
