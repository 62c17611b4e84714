import contextlib
import itertools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hardware import cores
from hardware.environment import CpuCounters
from hardware.local import LocalRunner
from hardware.measurement import Workload
from hardware.runner import RunnerError
from search_space.onnx_model import write_onnx
from tests.hardware.conformance import CAPACITY, children, write_model
from tests.search_space.strategies import CONV, stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def large_model(tmp_path) -> Path:
    """100 MB of weights, which take a moment to draw."""
    folder = tmp_path / "large"
    folder.mkdir()
    architecture = stack(CONV, vocab_size=50_000, width=512, embedding_width=512)
    return write_onnx(architecture, folder, quantization="fp32", context_length=CAPACITY)


def failure(runner: LocalRunner, model: Path, capacity: int = CAPACITY) -> RunnerError:
    """What loading ends with."""
    before = children()
    with pytest.raises(RunnerError) as caught, runner.load(model, capacity):
        pass
    assert children() == before
    assert not model.with_name("model.onnx.data").exists()
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


def test_a_graph_that_the_runtime_does_not_take_is_refused(model):
    graph = model.read_bytes()
    model.write_bytes(graph.replace(b"GroupQueryAttention", b"GroupQueryIntention"))
    error = failure(LocalRunner(), model)
    assert error.kind == "refused"
    assert "GroupQueryIntention" in error.reason


def test_a_capacity_beyond_the_models_context_is_refused_in_a_sentence(model):
    error = failure(LocalRunner(), model, CAPACITY + 1)
    assert error.kind == "refused"
    assert "capacity: 17 is above 16, the model's context length" in error.reason


@pytest.mark.parametrize(
    ("ended_by", "kind"), [(signal.SIGTERM, "crashed"), (signal.SIGKILL, "out of memory")]
)
def test_a_process_that_a_signal_ends_while_it_loads_is_told_by_the_signal(
    large_model, ended_by, kind
):
    others, data = children(), large_model.with_name("model.onnx.data")

    def end(_: bool) -> None:
        os.kill((children() - others).pop(), ended_by)

    with once(data.exists, end):
        error = failure(LocalRunner(), large_model)
    assert error.kind == kind
    if kind == "crashed":
        assert "ended by signal 15" in error.reason


def test_an_interrupt_while_weights_are_drawn_leaves_no_file(large_model):
    before, data = children(), large_model.with_name("model.onnx.data")
    with (
        once(data.exists, lambda _: os.kill(os.getpid(), signal.SIGINT)),
        pytest.raises(KeyboardInterrupt),
        LocalRunner().load(large_model, CAPACITY),
    ):
        pass
    assert children() == before
    assert not data.exists()


class TestProcessesOfAnotherMind:
    """A program in the interpreter's place, which does as it likes."""

    @pytest.fixture
    def program(self, tmp_path, monkeypatch):
        path = tmp_path / "program"
        monkeypatch.setattr(sys, "executable", str(path))

        def write(script: str) -> None:
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)

        return write

    @pytest.mark.parametrize("line", ["Segmentation fault", "[1]", "{}", "null", '{"time": 1}'])
    def test_what_is_no_answer_is_a_crash_that_says_what_was_heard(self, program, model, line):
        program(f"echo '{line}'; exec sleep 60")
        error = failure(LocalRunner(), model)
        assert error.kind == "crashed"
        assert error.reason == f"invalid answer '{line}'"

    def test_one_that_says_nothing_is_given_up(self, program, model):
        program("exec sleep 60")
        error = failure(LocalRunner(timeout_s=0.2), model)
        assert (error.kind, error.reason) == ("timed out", "no answer within 0.2 s")

    def test_one_that_stops_in_the_middle_of_a_line_is_given_up(self, program, model):
        program("printf '{'; exec sleep 60")
        assert failure(LocalRunner(timeout_s=0.2), model).kind == "timed out"

    def test_one_that_hangs_without_a_way_to_answer_is_given_up(self, program, model):
        program("exec >&-; exec sleep 60")
        assert failure(LocalRunner(timeout_s=0.2), model).kind == "timed out"

    def test_however_much_it_complains_its_last_lines_are_heard(self, program, model):
        # More than a pipe holds.
        program("yes complaint | head -n 100000 >&2; echo the end >&2; exit 3")
        error = failure(LocalRunner(), model)
        assert error.kind == "refused"
        assert error.reason == "exit code 3: complaint; complaint; the end"

    def test_one_that_runs_out_of_memory_by_its_own_account(self, program, model):
        program("echo 'onnxruntime: Failed to allocate memory for a buffer' >&2; exit 1")
        assert failure(LocalRunner(), model).kind == "out of memory"


def test_a_model_above_the_free_memory_is_not_even_tried(model):
    path = model.with_name("model.json")
    description = json.loads(path.read_text())
    description["data_bytes"] = 10**15
    path.write_text(json.dumps(description))
    error = failure(LocalRunner(), model)
    assert error.kind == "out of memory"
    assert error.reason.startswith("measuring needs about 2500000.0 GB; ")


def test_caches_count_as_memory_too(large_model):
    description = json.loads(large_model.with_name("model.json").read_text())
    description["states"] += [{"shape": [1, 64, 0, 1_024], "in_place": True}]
    large_model.with_name("model.json").write_text(json.dumps(description))
    error = failure(LocalRunner(), large_model, 10_000_000)
    assert error.kind == "out of memory"
    assert error.reason.startswith("measuring needs about 2621.7 GB; ")


def test_a_disk_without_room_for_the_weights_is_said_to_be_full(large_model, monkeypatch):
    usage = shutil.disk_usage(large_model.parent)._replace(free=5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    error = failure(LocalRunner(), large_model)
    assert error.kind == "refused"
    assert "MB; 5.0 MB are free in " in error.reason


@pytest.mark.parametrize("threads", [0, 10_000])
def test_threads_are_at_least_one_and_at_most_the_cores(threads):
    cores = len(os.sched_getaffinity(0))
    expected = (
        rf"^threads: {threads} is not between 1 and {cores}, the number of cores of this machine$"
    )
    with pytest.raises(ValueError, match=expected):
        LocalRunner(threads=threads)


def test_every_core_may_have_a_thread(model):
    cores = os.sched_getaffinity(0)
    with LocalRunner(threads=len(cores)).load(model, CAPACITY) as loaded:
        assert loaded.loading.threads == len(cores)
        assert set(loaded.loading.cores) == cores
        assert loaded.time(Workload(phase="prefill", tokens=16), 3)


class TestCores:
    @pytest.fixture
    def work_s(self, monkeypatch):
        """By core, what is done on it between two readings."""
        work_s = {}
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(work_s))
        times = itertools.count()

        def read_counters() -> CpuCounters:
            time = next(times)
            busy_s = tuple(100 - core + time * work_s.get(core, 0.0) for core in range(8))
            return CpuCounters(at_ns=time, busy_s=busy_s, steal_s=(0.0,) * 8, own_s=0.0)

        monkeypatch.setattr(cores, "read_counters", read_counters)
        return work_s

    @pytest.fixture
    def chosen(self, model, tmp_path, monkeypatch):
        """The cores that a runner asks the measuring process for, load by load."""
        asked = tmp_path / "asked"
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\nhead -n 1 >> {asked}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

        def load(runner: LocalRunner) -> list[int]:
            failure(runner, model)
            return json.loads(asked.read_text().splitlines()[-1])["cores"]

        return load

    def test_those_with_the_least_to_do_are_taken(self, work_s, chosen):
        work_s |= {1: 0.2, 3: 0.01, 4: 0.1, 6: 0.0}
        assert chosen(LocalRunner(threads=3)) == [6, 3, 4]

    def test_of_equals_the_highest_are_taken(self, work_s, chosen):
        work_s |= {1: 0.0, 3: 0.0, 4: 0.0, 6: 0.2}
        assert chosen(LocalRunner(threads=2)) == [4, 3]

    def test_a_runner_stays_on_them(self, work_s, chosen):
        work_s |= {1: 0.0, 3: 0.2}
        runner = LocalRunner()
        assert chosen(runner) == [1]
        work_s |= {1: 0.2, 3: 0.0}
        assert chosen(runner) == [1]
        assert chosen(LocalRunner()) == [3]


def test_modules_in_the_current_folder_are_not_taken_for_our_own(model, tmp_path, monkeypatch):
    for name in ("hardware", "numpy", "json", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    with LocalRunner().load(model, CAPACITY) as loaded:
        assert loaded.snapshot()


def test_the_runtime_keeps_no_record_of_its_user(model, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    with LocalRunner().load(model, CAPACITY) as loaded:
        assert loaded.time(Workload(phase="decode", tokens=1), 10)
        assert not list(home.iterdir())


def test_a_measuring_process_dies_with_its_parent_in_the_middle_of_a_window(model):
    script = (
        "from pathlib import Path\n"
        "from hardware.local import LocalRunner\n"
        "from hardware.measurement import Workload\n"
        f"with LocalRunner().load(Path({str(model)!r}), {CAPACITY}) as loaded:\n"
        "    print('loaded', flush=True)\n"
        "    loaded.time(Workload(phase='decode', tokens=1), 10**9)\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        try:
            assert parent.stdout.readline() == b"loaded\n"
            (bench,) = children_of(parent.pid)
        finally:
            parent.kill()
    wait_for(lambda: not Path(f"/proc/{bench}/exe").exists())


def test_settings_that_change_a_time_change_the_fingerprint():
    runners = [
        LocalRunner(threads=threads) for threads in range(1, 1 + len(os.sched_getaffinity(0)))
    ]
    assert len({runner.fingerprint for runner in runners}) == len(runners)


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


def test_weights_lie_in_huge_pages_where_the_system_has_them(large_model):
    switch = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not switch.exists() or "[never]" in switch.read_text():
        pytest.skip("the system has no huge pages for programs")
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc is told to ask for them")
    before = children()
    with LocalRunner().load(large_model, 16):
        (process,) = children() - before
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    kilobytes = dict(re.findall(r"^(Anonymous|AnonHugePages): +(\d+) kB", rollup, re.MULTILINE))
    assert int(kilobytes["AnonHugePages"]) > 0.8 * int(kilobytes["Anonymous"])
