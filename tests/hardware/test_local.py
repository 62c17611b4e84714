import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hardware.local import LocalRunner
from hardware.measurement import Workload
from hardware.runner import RunnerError
from search_space.onnx_model import write_onnx
from tests.hardware.conformance import WORKLOADS, children, write_model
from tests.search_space.strategies import CONV, stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

# More than any test waits for: the runner is stopped long before.
ENDLESS = Workload(phase="decode", tokens=1_000_000)


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def large_model(tmp_path) -> Path:
    """100 MB of weights, which take a moment to draw, and a context for any workload."""
    folder = tmp_path / "large"
    folder.mkdir()
    architecture = stack(CONV, vocab_size=50_000, width=512, embedding_width=512)
    return write_onnx(architecture, folder, quantization="fp32", context_length=1_000_000)


def failure(runner: LocalRunner, model: Path, *workloads: Workload) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        runner.measure(model, workloads or WORKLOADS)
    return caught.value


@contextlib.contextmanager
def once(condition, act):
    """Calls `act` in the background as soon as `condition` gives something true, with that."""
    given_up = threading.Event()

    def watch() -> None:
        while not given_up.is_set():
            if found := condition():
                act(found)
                return
            time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    given_up.set()
    thread.join()


def test_a_file_that_is_no_model_is_refused_with_the_runtimes_words(model):
    model.write_bytes(b"no model at all")
    error = failure(LocalRunner(), model)
    assert error.kind == "refused"
    assert "exit code 1" in error.reason
    assert "InvalidProtobuf" in error.reason or "INVALID_PROTOBUF" in error.reason
    assert str(error).startswith("refused: ")
    assert sorted(path.name for path in model.parent.iterdir()) == ["model.json", "model.onnx"]


def test_a_workload_beyond_the_models_context_is_refused_in_a_sentence(model):
    error = failure(LocalRunner(), model, Workload(phase="prefill", tokens=17))
    assert error.kind == "refused"
    assert "capacity: 17 is above 16, the model's context length" in error.reason


@pytest.mark.parametrize(
    ("ended_by", "kind"), [(signal.SIGTERM, "crashed"), (signal.SIGKILL, "out of memory")]
)
def test_a_process_that_a_signal_ends_is_told_by_the_signal(large_model, ended_by, kind):
    others = children()
    with once(lambda: children() - others, lambda found: os.kill(found.pop(), ended_by)):
        error = failure(LocalRunner(), large_model, ENDLESS)
    assert error.kind == kind
    if kind == "crashed":
        assert "ended by signal 15" in error.reason


def test_a_process_that_does_not_answer_in_time_is_ended(large_model):
    before = children()
    error = failure(LocalRunner(timeout_s=0.5), large_model, ENDLESS)
    assert error.kind == "timed out"
    assert error.reason == "no answer within 0.5 s"
    assert children() == before
    assert not large_model.with_name("model.onnx.data").exists()


def test_an_interrupt_while_weights_are_drawn_leaves_no_file(large_model):
    before, data = children(), large_model.with_name("model.onnx.data")
    with (
        once(data.exists, lambda _: os.kill(os.getpid(), signal.SIGINT)),
        pytest.raises(KeyboardInterrupt),
    ):
        LocalRunner().measure(large_model, (ENDLESS,))
    assert children() == before
    assert not data.exists()


def test_a_model_above_the_free_memory_is_not_even_tried(model):
    path = model.with_name("model.json")
    description = json.loads(path.read_text())
    description["data_bytes"] = 10**15
    path.write_text(json.dumps(description))
    error = failure(LocalRunner(), model)
    assert error.kind == "out of memory"
    assert error.reason.startswith("measuring takes about 2500000.0 GB, ")


def test_caches_count_as_memory_too(large_model):
    description = json.loads(large_model.with_name("model.json").read_text())
    description["states"] += [{"shape": [1, 64, 0, 1_024], "in_place": True}]
    large_model.with_name("model.json").write_text(json.dumps(description))
    error = failure(LocalRunner(), large_model, Workload(phase="decode", tokens=1, depth=9_999_999))
    assert error.kind == "out of memory"
    assert error.reason.startswith("measuring takes about 2621.7 GB, ")


def test_a_disk_without_room_for_the_weights_is_said_to_be_full(large_model, monkeypatch):
    usage = shutil.disk_usage(large_model.parent)._replace(free=5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    error = failure(LocalRunner(), large_model)
    assert error.kind == "refused"
    assert "MB, 5.0 MB are free in " in error.reason


@pytest.mark.parametrize("threads", [0, 10_000])
def test_threads_are_at_least_one_and_at_most_the_cores(threads):
    cores = len(os.sched_getaffinity(0))
    expected = rf"^threads: {threads} is not between 1 and {cores}, the cores here$"
    with pytest.raises(ValueError, match=expected):
        LocalRunner(threads=threads)


def test_every_core_may_have_a_thread(model):
    cores = sorted(os.sched_getaffinity(0), reverse=True)
    (measurement,) = LocalRunner(threads=len(cores), seconds=0.0).measure(model, WORKLOADS[:1])
    assert measurement.threads == len(cores)
    assert measurement.cores == tuple(cores)


def test_longer_sampling_takes_more_samples(model):
    short, long = (
        LocalRunner(seconds=seconds).measure(model, (Workload(phase="prefill", tokens=4),))[0]
        for seconds in (0.0, 2.0)
    )
    assert len(short.samples_ns) == 3
    assert len(long.samples_ns) == 20


def test_modules_in_the_current_folder_are_not_taken_for_our_own(model, tmp_path, monkeypatch):
    for name in ("hardware", "numpy", "json", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    assert LocalRunner(seconds=0.0).measure(model, WORKLOADS[:1])


def test_a_measuring_process_dies_with_its_parent(large_model):
    script = (
        "import sys; from pathlib import Path\n"
        "from hardware.local import LocalRunner\n"
        "from hardware.measurement import Workload\n"
        "workload = Workload(phase='decode', tokens=1_000_000)\n"
        f"LocalRunner().measure(Path({str(large_model)!r}), (workload,))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script]) as parent:
        try:
            # The weights are gone when it has loaded them: then it measures.
            data = large_model.with_name("model.onnx.data")
            wait_for(data.exists)
            wait_for(lambda: not data.exists())
            (bench,) = children_of(parent.pid)
        finally:
            parent.kill()
    wait_for(lambda: not Path(f"/proc/{bench}/exe").exists())


def children_of(process: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{process}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def wait_for(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within 30 s")
