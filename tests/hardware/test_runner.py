import pytest

from hardware.fake import FakeRunner
from hardware.local import LocalRunner
from hardware.measurement import parse_workload
from tests.hardware.conformance import (
    CAPACITY,
    WORKLOADS,
    ProcessRunnerConformance,
    RunnerConformance,
)


class TestLocalRunner(ProcessRunnerConformance):
    patience_s = 10.0  # loading takes half a second, and far longer on a busy machine

    def make_runner(self, threads=1):
        return LocalRunner(threads=threads)

    @pytest.fixture
    def impatient(self):
        return LocalRunner(timeout_s=self.patience_s)

    def test_existing_weights_are_kept(self, runner, model):
        weights = bytes(1_000_000)
        data = model.with_name("model.onnx.data")
        data.write_bytes(weights)
        with runner.load(model, CAPACITY) as loaded:
            assert loaded.time(WORKLOADS[0], 1)
            assert loaded.loading.model_bytes == model.stat().st_size + len(weights)
        assert data.read_bytes() == weights
        data.unlink()


class TestFakeRunner(RunnerConformance):
    def make_runner(self, threads=1):
        return FakeRunner()

    def test_results_are_reproducible_and_marked_as_simulated(self, runner, model):
        def windows():
            with runner.load(model, CAPACITY) as loaded:
                assert loaded.loading.runtime == "fake"
                return [loaded.time(workload, 5) for workload in WORKLOADS * 2]

        first = windows()
        assert first == windows()
        assert first[: len(WORKLOADS)] != first[len(WORKLOADS) :]

    def test_more_depth_takes_more_time(self, runner, model):
        with runner.load(model, 2000) as loaded:
            shallow, deep = (
                loaded.time(parse_workload(name), 20) for name in ("tg64", "tg64@1024")
            )
        assert min(deep.samples_ns) > max(shallow.samples_ns)
