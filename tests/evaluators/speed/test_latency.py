import contextlib
import errno
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from evaluators.evaluator import Evaluation, Infeasible
from hardware.fake import FakeRunner
from hardware.local import LocalRunner
from hardware.runner import LoadedModel, RunnerError
from hardware.stability import ratio
from search_space.architecture import architecture_hash
from search_space.costs import weight_bytes
from search_space.preset_models import preset
from tests.evaluators.conformance import EvaluatorConformance
from tests.evaluators.speed.timing import (
    REFERENCE,
    SETTINGS,
    CountingRunner,
    evaluate,
    evaluator_of,
    failure,
)
from tests.search_space.strategies import ATTENTION, CONV, CORNERS, LINEAR, stack

SMALL, LARGE = preset("smollm2-135m"), preset("lfm2-350m")


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.name: score.value for score in evaluation.scores}


@dataclass
class Remembering:
    """A Memory, and what it holds."""

    kept: dict[tuple[str, str], Evaluation] = field(default_factory=dict)

    def load_evaluation(self, fingerprint, architecture):
        return self.kept.get((fingerprint, architecture_hash(architecture)))

    def save_evaluation(self, fingerprint, architecture, evaluation):
        self.kept.setdefault((fingerprint, architecture_hash(architecture)), evaluation)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """One for all tests: what it keeps open must not matter."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        with evaluator_of(LocalRunner()) as evaluator:
            yield evaluator
    assert not list(folder.iterdir())
    assert not children()


class TestLocalLatency:
    def test_scores_follow_from_the_measurements_it_hands_on(self, local):
        evaluation = evaluate(local, stack(CONV, ATTENTION, None))
        decode, prefill = evaluation.measurements
        assert [str(decode.workload), str(prefill.workload)] == ["tg64@16", "pp8"]
        scores = {score.name: score for score in evaluation.scores}
        # Each is a ratio times what the reference takes alone.
        of_decode = scores["decode"].value / ratio(decode).value
        assert scores["decode"].low == pytest.approx(of_decode * ratio(decode).low)
        # Two ratios, each with an error of its own: the intervals are in order, not the values.
        assert scores["decode_p95"].high >= scores["decode"].low > 0
        # In MB: the model's some kilobytes and its arenas, and no interpreter.
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


class TestFakeLatency(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self):
        with evaluator_of(FakeRunner(), replace(SETTINGS, more_depths=(0, 64))) as evaluator:
            yield evaluator


class TestScores:
    """Against the fake's formula: 0.1 us for each kilobyte of weights and each token before."""

    def test_times_are_those_of_the_device(self):
        settings = replace(SETTINGS, more_depths=(10_000,))
        with evaluator_of(FakeRunner(), settings, reference=SMALL) as evaluator:
            found = values(evaluate(evaluator, LARGE))
        kilobytes = weight_bytes(LARGE, "int4") // 1_000
        assert found["decode"] == pytest.approx(kilobytes * 1e-4, rel=0.03)
        assert found["decode@10000"] == pytest.approx((kilobytes + 1e4) * 1e-4, rel=0.03)
        assert found["prefill"] == pytest.approx(8 * kilobytes * 1e-4, rel=0.03)
        assert found["decode_p95"] > found["decode"]
        # The fake holds its weights, and a kilobyte for each token before.
        assert found["memory"] == pytest.approx(kilobytes / 1e3 + 10, rel=1e-3)
        assert found["decode_memory"] == pytest.approx(0.016)
        assert found["prefill_memory"] == 0

    def test_milliseconds_are_the_ratio_times_what_is_remembered_of_the_reference(self):
        memory = Remembering()
        with evaluator_of(FakeRunner(), reference=SMALL, memory=memory) as evaluator:
            first = evaluate(evaluator, LARGE)
        assert len(memory.kept) == 2  # one a workload
        for key, evaluation in memory.kept.items():
            (alone,) = evaluation.measurements
            slower = replace(alone, samples_ns=tuple(10 * each for each in alone.samples_ns))
            memory.kept[key] = replace(evaluation, measurements=(slower,))
        with evaluator_of(FakeRunner(), reference=SMALL, memory=memory) as evaluator:
            second = evaluate(evaluator, LARGE)
        assert len(memory.kept) == 2
        for before, after in zip(first.scores, second.scores, strict=True):
            times = 10 if before.unit.startswith("ms") else 1
            assert after.value == pytest.approx(times * before.value, rel=0.03)
            if before.low is not None:
                assert after.high - after.low == pytest.approx(times * (before.high - before.low))

    def test_a_study_of_another_prompt_measures_the_reference_anew_for_that_alone(self):
        memory = Remembering()
        for settings in (SETTINGS, replace(SETTINGS, prompt_length=4)):
            with evaluator_of(FakeRunner(), settings, memory=memory) as evaluator:
                evaluate(evaluator, LARGE)
        workloads = [found.measurements[0].workload for found in memory.kept.values()]
        assert sorted(map(str, workloads)) == ["pp4", "pp8", "tg64@16"]

    def test_a_reference_beside_itself_has_a_ratio_of_one(self):
        with evaluator_of(FakeRunner(), reference=SMALL) as evaluator:
            evaluation = evaluate(evaluator, SMALL)
        for measurement in evaluation.measurements:
            assert ratio(measurement).value == pytest.approx(1, rel=0.03)
            assert measurement.reference is not None

    @pytest.mark.parametrize("score", ["decode@64", "prefill_per_byte"])
    def test_what_is_asked_for_is_known_better(self, score):
        settings = replace(
            SETTINGS, more_depths=(64,), asked=frozenset({score, "loss"}), precision=1e-4
        )
        with evaluator_of(FakeRunner(), replace(settings, seconds=0.5)) as evaluator:
            measurements = evaluate(evaluator, LARGE).measurements
        windows = {str(each.workload): len(each.samples_ns) // each.window for each in measurements}
        asked = windows.pop("pp8" if "prefill" in score else "tg64@64")
        assert asked > 2 * max(windows.values())


class TestFailures:
    @pytest.mark.parametrize(
        ("architecture", "field"),
        [
            (stack(CONV, embedding_width=16), "embedding_width: 16 is not"),
            (stack(replace(ATTENTION, head_dim=24)), "head_dim: 24 is not"),
        ],
    )
    def test_a_model_that_no_file_can_hold_is_a_build_error(self, architecture, field):
        error = failure(evaluator_of(FakeRunner()), architecture)
        assert error.kind == "build error"
        assert error.reason.startswith(field)

    def test_a_folder_without_room_is_a_build_error(self, monkeypatch):
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
    def test_a_candidates_failure_is_told_with_its_reason(self, kind, expected):
        error = failure(evaluator_of(FailingRunner(RunnerError(kind, "the last it said"))))
        assert error.kind == expected
        assert error.reason == "the last it said"

    def test_a_bug_in_a_runner_is_no_property_of_the_candidate(self):
        evaluator = evaluator_of(FailingRunner(ValueError("a bug")))
        with evaluator, pytest.raises(ValueError, match="a bug"):
            evaluate(evaluator, REFERENCE)

    def test_what_the_runtime_cannot_express_is_infeasible_and_loads_nothing(self):
        runner = CountingRunner()
        runner.model_format = "gguf"
        with evaluator_of(runner) as evaluator, pytest.raises(Infeasible) as caught:
            evaluate(evaluator, stack(CONV, LINEAR, ATTENTION))
        assert "linear attention" in str(caught.value)
        assert runner.loaded == 0


class FailingRunner(FakeRunner):
    """Loads a reference, and then nothing more."""

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
    """Keeps the beginning of each file it is given."""

    model_format = "gguf"

    def __init__(self) -> None:
        self.begun: list[bytes] = []

    @contextlib.contextmanager
    def load(self, model: Path, capacity: int) -> Iterator[LoadedModel]:
        self.begun.append(model.read_bytes()[:4])
        model.with_name("model.json").write_text('{"data_bytes": 1000000}')
        with super().load(model, capacity) as loaded:
            yield loaded


@pytest.mark.parametrize("quantization", ["fp16", "int8", "int4"])
def test_a_runtime_gets_the_format_that_it_takes(quantization):
    runner = GgufRunner()
    model = stack(CONV, replace(ATTENTION, heads=2))
    settings = replace(SETTINGS, quantization=quantization)
    with evaluator_of(runner, settings, reference=model) as evaluator:
        assert evaluate(evaluator, model).scores
    assert runner.begun == [b"GGUF"] * 2


def test_a_quantization_that_the_format_has_not_is_a_build_error():
    error = failure(evaluator_of(FakeRunner(), replace(SETTINGS, quantization="fp16")))
    assert error.reason == "quantization: 'fp16' is not one that onnx has"


def test_the_fingerprint_tells_settings_references_and_devices_apart():
    settings = [
        SETTINGS,
        replace(SETTINGS, quantization="int8"),
        replace(SETTINGS, prompt_length=9),
        replace(SETTINGS, context_depth=17),
        replace(SETTINGS, more_depths=(64,)),
        replace(SETTINGS, asked=frozenset({"decode"})),
        replace(SETTINGS, precision=0.05),
        replace(SETTINGS, seconds=0.3),
        replace(SETTINGS, asked=frozenset({"decode_p95", "prefill"})),
    ]
    prints = {evaluator_of(FakeRunner(), one).fingerprint for one in settings}
    prints.add(evaluator_of(LocalRunner()).fingerprint)
    prints.add(evaluator_of(FakeRunner(), reference=SMALL).fingerprint)
    assert len(prints) == len(settings) + 2
    same = replace(SETTINGS, asked=frozenset({"decode", "prefill_per_byte", "loss", "memory"}))
    assert evaluator_of(FakeRunner(), same).fingerprint in prints


def test_the_fingerprint_tells_calibrations_apart(monkeypatch):
    """The milliseconds are a ratio times what the reference took then."""
    before = evaluator_of(FakeRunner()).fingerprint
    monkeypatch.setattr("evaluators.speed.reference_calibration._VERSION", -1)
    assert evaluator_of(FakeRunner()).fingerprint != before


def children() -> set[int]:
    """The processes that this one has started and that have not ended."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(process) for task in tasks for process in task.read_text().split()}
