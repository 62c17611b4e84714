"""What every Runner promises, as a class to inherit: a subclass says how one is made."""

import os
import signal
import threading
from pathlib import Path

import pytest

from hardware.measurement import Workload, parse_workload
from hardware.runner import Runner, RunnerError
from search_space.onnx_model import write_onnx
from tests.search_space.strategies import ATTENTION, CONV, stack

WORKLOADS = tuple(map(parse_workload, ("tg4@8", "pp8", "tg2", "pp4@3")))


def write_model(folder: Path) -> Path:
    """A model of some kilobytes, with room for 16 tokens and without weights."""
    folder.mkdir()
    return write_onnx(stack(CONV, ATTENTION), folder, quantization="int4", context_length=16)


def children() -> set[int]:
    """Processes that this one has started and that are still there, ended ones included."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.add(int(stat.parent.name))
    return found


def measure_for_ever(runner: Runner, model: Path) -> None:
    while True:
        runner.measure(model, WORKLOADS)


class RunnerConformance:
    """Inherit it, and give a `runner` fixture that measures for a moment only."""

    @pytest.fixture
    def runner(self) -> Runner:
        raise NotImplementedError

    @pytest.fixture
    def model(self, tmp_path) -> Path:
        return write_model(tmp_path / "model")

    @pytest.fixture(autouse=True)
    def nothing_left_behind(self, model):
        files, processes = set(model.parent.parent.rglob("*")), children()
        yield
        assert set(model.parent.parent.rglob("*")) == files
        assert children() == processes

    def test_every_workload_is_measured_in_order(self, runner, model):
        measurements = runner.measure(model, WORKLOADS)
        assert tuple(measurement.workload for measurement in measurements) == WORKLOADS

    def test_samples_are_one_a_token_written_or_one_a_prompt_read(self, runner, model):
        for measurement in runner.measure(model, WORKLOADS):
            workload = measurement.workload
            if workload.phase == "decode":
                assert len(measurement.samples_ns) % workload.tokens == 0
            else:
                assert len(measurement.samples_ns) >= 3
            assert min(measurement.samples_ns) > 0

    def test_a_measurement_carries_its_evidence(self, runner, model):
        for measurement in runner.measure(model, WORKLOADS):
            assert measurement.load_ns > 0
            assert measurement.peak_memory_bytes > 0
            assert measurement.threads >= 1
            assert len(measurement.cores) in (0, measurement.threads)
            assert measurement.runtime
            assert measurement.environment.host
            assert measurement.environment.runtime_version

    def test_one_workload_alone_is_measured_too(self, runner, model):
        (measurement,) = runner.measure(model, (Workload(phase="decode", tokens=1),))
        assert measurement.samples_ns

    def test_the_model_file_stays_as_it_was(self, runner, model):
        before = {path.name: path.read_bytes() for path in model.parent.iterdir()}
        runner.measure(model, WORKLOADS)
        assert {path.name: path.read_bytes() for path in model.parent.iterdir()} == before

    def test_weights_that_are_given_stay(self, runner, model):
        weights = bytes(1_000_000)
        data = model.with_name("model.onnx.data")
        data.write_bytes(weights)
        runner.measure(model, WORKLOADS[:1])
        assert data.read_bytes() == weights
        data.unlink()

    def test_what_is_no_model_is_a_runner_error(self, runner, tmp_path):
        broken = write_model(tmp_path / "broken")
        broken.with_name("model.json").write_text("{}")
        with pytest.raises(RunnerError) as caught:
            runner.measure(broken, WORKLOADS)
        assert caught.value.kind == "refused"
        for path in broken.parent.iterdir():
            path.unlink()
        broken.parent.rmdir()

    # Python itself leaves a file to the garbage collector when it is hit right after opening it.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_an_interrupt_goes_through(self, runner, model):
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            measure_for_ever(runner, model)

    def test_the_fingerprint_stays_while_nothing_changes(self, runner, model):
        before = runner.fingerprint
        runner.measure(model, WORKLOADS[:1])
        assert runner.fingerprint == before
