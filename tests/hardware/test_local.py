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

from hardware import core_use
from hardware.environment import CpuCounters
from hardware.local import LocalRunner
from hardware.measurement import Workload
from hardware.runner import RunnerError
from search_space.onnx_model import write_onnx
from tests.hardware.conformance import CAPACITY, children, write_model
from tests.search_space.strategies import CONV, stack

PYTHON = sys.executable
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def large_model(tmp_path) -> Path:
    """Write a model with 100 MB of weights, which take a moment to draw."""
    folder = tmp_path / "large"
    folder.mkdir()
    architecture = stack(CONV, vocab_size=50_000, width=512, embedding_width=512)
    return write_onnx(architecture, folder, quantization="fp32", context_length=CAPACITY)


def failure(runner: LocalRunner, model: Path, capacity: int = CAPACITY) -> RunnerError:
    """Return the error that loading ends with."""
    before = children()
    with pytest.raises(RunnerError) as caught, runner.load(model, capacity):
        pass
    assert children() == before
    assert not model.with_name("model.onnx.data").exists()
    return caught.value


@contextlib.contextmanager
def once(condition, act):
    """Call `act` in the background with the first true result of `condition`."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if found := condition():
                act(found)
                return
            time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    over.set()
    thread.join()


def test_refusing_a_file_that_is_no_model_quotes_the_runtime(model):
    model.write_bytes(b"no model at all")
    error = failure(LocalRunner(), model)
    assert error.kind == "refused"
    assert "exit code 1" in error.reason
    assert "InvalidProtobuf" in error.reason or "INVALID_PROTOBUF" in error.reason
    assert str(error).startswith("refused: ")
    assert sorted(path.name for path in model.parent.iterdir()) == ["model.json", "model.onnx"]


def test_a_graph_that_the_runtime_does_not_support_is_refused(model):
    graph = model.read_bytes()
    model.write_bytes(graph.replace(b"GroupQueryAttention", b"GroupQueryIntention"))
    error = failure(LocalRunner(), model)
    assert error.kind == "refused"
    assert "GroupQueryIntention" in error.reason


def test_a_capacity_beyond_the_models_context_is_refused(model):
    error = failure(LocalRunner(), model, CAPACITY + 1)
    assert error.kind == "refused"
    assert "capacity: 17 is above 16, the model's context length" in error.reason


@pytest.mark.parametrize(
    ("ended_by", "kind"), [(signal.SIGTERM, "crashed"), (signal.SIGKILL, "killed")]
)
def test_a_signal_that_ends_loading_determines_the_kind_of_error(large_model, ended_by, kind):
    others, data = children(), large_model.with_name("model.onnx.data")

    def end(_: bool) -> None:
        os.kill((children() - others).pop(), ended_by)

    with once(data.exists, end):
        error = failure(LocalRunner(), large_model)
    assert error.kind == kind
    if kind == "crashed":
        assert "terminated by signal 15" in error.reason


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


class TestMisbehavingProcesses:
    """Arbitrary programs in place of the Python interpreter."""

    @pytest.fixture
    def program(self, tmp_path, monkeypatch):
        path = tmp_path / "program"
        monkeypatch.setattr(sys, "executable", str(path))

        def write(script: str) -> None:
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)

        return write

    @pytest.mark.parametrize("line", ["Segmentation fault", "[1]", "{}", "null", '{"time": 1}'])
    def test_an_invalid_answer_is_a_crash_that_quotes_it(self, program, model, line):
        program(f"echo '{line}'; exec sleep 60")
        error = failure(LocalRunner(), model)
        assert error.kind == "crashed"
        assert error.reason == f"invalid answer '{line}'"

    def test_a_silent_one_times_out(self, program, model):
        program("exec sleep 60")
        error = failure(LocalRunner(timeout_s=0.2), model)
        assert (error.kind, error.reason) == ("timed out", "no answer within 0.2 s")

    def test_one_that_stops_in_the_middle_of_a_line_times_out(self, program, model):
        program("printf '{'; exec sleep 60")
        assert failure(LocalRunner(timeout_s=0.2), model).kind == "timed out"

    def test_one_that_hangs_with_closed_output_times_out(self, program, model):
        program("exec >&-; exec sleep 60")
        assert failure(LocalRunner(timeout_s=0.2), model).kind == "timed out"

    def test_the_last_lines_of_long_error_output_are_reported(self, program, model):
        # The output is larger than the buffer of a pipe.
        program("yes complaint | head -n 100000 >&2; echo the end >&2; exit 3")
        error = failure(LocalRunner(), model)
        assert error.kind == "refused"
        assert error.reason == "exit code 3: complaint; complaint; the end"

    @pytest.mark.parametrize(
        ("raised", "shown"),
        [
            ("ValueError('tokens: 9 exceed 8')", "tokens: 9 exceed 8"),
            ("ValueError('first line\\nsecond line')", "first line"),
            ("NotImplementedError", "NotImplementedError"),
            ("json.JSONDecodeError('no value', '', 0)", "no value: line 1 column 1 (char 0)"),
        ],
    )
    def test_only_the_message_of_an_exception_is_reported(self, program, model, raised, shown):
        code = f"import json, sys; print('warning', file=sys.stderr); raise {raised}"
        program(f'exec "{PYTHON}" -c "{code}"')
        error = failure(LocalRunner(), model)
        assert str(error) == f"refused: exit code 1: {shown}"

    def test_one_that_reports_that_it_is_out_of_memory(self, program, model):
        program("echo 'onnxruntime: Failed to allocate memory for a buffer' >&2; exit 1")
        assert failure(LocalRunner(), model).kind == "out of memory"


def test_a_model_above_the_free_memory_is_not_loaded(model):
    path = model.with_name("model.json")
    description = json.loads(path.read_text())
    description["data_bytes"] = 10**15
    path.write_text(json.dumps(description))
    error = failure(LocalRunner(), model)
    assert error.kind == "out of memory"
    assert error.reason.startswith("measuring needs about 2500000.0 GB, but only ")


def test_caches_count_as_memory_too(large_model):
    description = json.loads(large_model.with_name("model.json").read_text())
    description["states"] += [{"shape": [1, 64, 0, 1_024], "in_place": True}]
    large_model.with_name("model.json").write_text(json.dumps(description))
    error = failure(LocalRunner(), large_model, 10_000_000)
    assert error.kind == "out of memory"
    assert error.reason.startswith("measuring needs about 2621.7 GB, but only ")


def test_a_disk_without_room_for_the_weights_is_an_error(large_model, monkeypatch):
    usage = shutil.disk_usage(large_model.parent)._replace(free=5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    error = failure(LocalRunner(), large_model)
    assert error.kind == "refused"
    assert "MB, but only 5.0 MB is free in " in error.reason


@pytest.mark.parametrize("threads", [0, 10_000])
def test_there_are_between_one_and_as_many_threads_as_cores(threads):
    cores = len(os.sched_getaffinity(0))
    expected = rf"^threads: {threads} is not between 1 and {cores}, the number of available cores$"
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
        """Return a dictionary that sets the work on each core between two readings, in seconds."""
        work_s = {}
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(work_s))
        times = itertools.count()

        def read_counters() -> CpuCounters:
            time = next(times)
            busy_s = tuple(100 - core + time * work_s.get(core, 0.0) for core in range(8))
            return CpuCounters(at_ns=time * 10**9, busy_s=busy_s, steal_s=(0.0,) * 8, own_s=0.0)

        monkeypatch.setattr(core_use, "read_counters", read_counters)
        return work_s

    @pytest.fixture
    def chosen(self, model, tmp_path, monkeypatch):
        """Return a function that loads a model and returns the cores that the runner requests."""
        asked = tmp_path / "asked"
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\nhead -n 1 >> {asked}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

        def load(runner: LocalRunner) -> list[int]:
            failure(runner, model)
            return json.loads(asked.read_text().splitlines()[-1])["cores"]

        return load

    def test_the_idlest_ones_are_chosen(self, work_s, chosen):
        work_s |= {1: 0.2, 3: 0.01, 4: 0.1, 6: 0.0}
        assert chosen(LocalRunner(threads=3)) == [6, 3, 4]

    def test_ties_go_to_the_highest_numbers(self, work_s, chosen):
        work_s |= {1: 0.0, 3: 0.0, 4: 0.0, 6: 0.2}
        assert chosen(LocalRunner(threads=2)) == [4, 3]

    def test_a_runner_keeps_its_cores(self, work_s, chosen):
        work_s |= {1: 0.0, 3: 0.2}
        runner = LocalRunner()
        assert chosen(runner) == [1]
        work_s |= {1: 0.2, 3: 0.0}
        assert chosen(runner) == [1]
        assert chosen(LocalRunner()) == [3]


@pytest.mark.parametrize("threads", [1, 2])
def test_every_thread_moves_to_a_core_of_its_own(model, threads):
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < threads:
        pytest.skip(f"this process may use fewer than {threads} cores")
    others = children()
    runner = LocalRunner(threads=threads, choose_cores=lambda _: allowed[:threads])
    with runner.load(model, CAPACITY) as loaded:
        (process,) = children() - others
        for cores in (allowed[:threads], allowed[-threads:][::-1], allowed[:threads]):
            loaded.move(cores)
            pinned = [
                os.sched_getaffinity(int(thread.name))
                for thread in Path(f"/proc/{process}/task").iterdir()
            ]
            assert os.sched_getaffinity(process) == {cores[0]}
            # The thread that watches the parent process is pinned to no core.
            assert sorted(map(sorted, pinned)) == sorted([*([core] for core in cores), allowed])


def test_a_core_that_the_process_may_not_use_is_refused(model):
    with LocalRunner().load(model, CAPACITY) as loaded:
        with pytest.raises(RunnerError) as caught:
            loaded.move([10_000])
        assert caught.value.kind == "refused"
        assert caught.value.reason.startswith("exit code 1: ")


def test_modules_in_the_current_folder_are_not_imported(model, tmp_path, monkeypatch):
    for name in ("hardware", "numpy", "json", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    with LocalRunner().load(model, CAPACITY) as loaded:
        assert loaded.snapshot()


def test_the_runtime_writes_nothing_into_the_home_folder(model, tmp_path, monkeypatch):
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
    raise AssertionError("the condition was not met within 30 s")


def test_weights_lie_in_huge_pages_where_the_system_has_them(large_model):
    switch = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not switch.exists() or "[never]" in switch.read_text():
        pytest.skip("the system has no huge pages for programs")
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc can be configured to request them")
    before = children()
    with LocalRunner().load(large_model, 16):
        (process,) = children() - before
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    kilobytes = dict(re.findall(r"^(Anonymous|AnonHugePages): +(\d+) kB", rollup, re.MULTILINE))
    assert int(kilobytes["AnonHugePages"]) > 0.8 * int(kilobytes["Anonymous"])
