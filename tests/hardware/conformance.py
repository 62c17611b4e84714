"""The contract of every Runner, as test classes to inherit from."""

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hardware.measurement import Workload, parse_workload
from hardware.runner import Runner, RunnerError, Window
from search_space.onnx_model import write_onnx
from tests.search_space.strategies import ATTENTION, CONV, stack

CAPACITY = 16
WORKLOADS = tuple(map(parse_workload, ("tg4@8", "pp8", "tg2", "pp4@3", "tg1")))


def write_model(folder: Path) -> Path:
    """Write a model of a few kilobytes for 16 tokens, without weights."""
    folder.mkdir()
    return write_onnx(stack(CONV, ATTENTION), folder, quantization="int4", context_length=CAPACITY)


def children() -> set[int]:
    """Return the child processes of this process, including ended ones that are not reaped."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.add(int(stat.parent.name))
    return found


def other_cores(cores: Sequence[int]) -> tuple[int, ...]:
    """Return, for each core, the next one that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    return tuple(allowed[(allowed.index(core) + 1) % len(allowed)] for core in cores)


def check_window(window: Window, samples: int) -> None:
    """Check what must be true of every window of that many samples."""
    assert len(window.samples_ns) == samples
    assert min(window.samples_ns) > 0
    assert window.peak_memory_bytes > 0
    if window.waited_ns is not None:
        assert len(window.waited_ns) == samples
        for sample, waited in zip(window.samples_ns, window.waited_ns, strict=True):
            assert 0 <= waited <= sample


def load_and_time_for_ever(runner: Runner, model: Path) -> None:
    while True:
        with runner.load(model, CAPACITY) as loaded:
            for _ in range(100):
                loaded.time(WORKLOADS[0], 10)


class RunnerConformance:
    """The tests that every runner must pass.

    A subclass provides `make_runner` and, if its files are not ONNX, `write_model`.
    """

    def make_runner(self, threads: int = 1) -> Runner:
        """Return a runner, with that many threads if its device has a choice."""
        raise NotImplementedError

    @pytest.fixture
    def runner(self) -> Runner:
        return self.make_runner()

    @pytest.fixture(params=[1, 2])
    def any_runner(self, request) -> Runner:
        if request.param > len(os.sched_getaffinity(0)):
            pytest.skip(f"this process may use fewer than {request.param} cores")
        return self.make_runner(request.param)

    def write_model(self, folder: Path) -> Path:
        return write_model(folder)

    @pytest.fixture
    def model(self, tmp_path) -> Path:
        return self.write_model(tmp_path / "model")

    @pytest.fixture
    def other(self, tmp_path) -> Path:
        return self.write_model(tmp_path / "other")

    @pytest.fixture(autouse=True)
    def nothing_is_left_behind(self, model, other):
        files, processes = set(model.parent.parent.rglob("*")), children()
        yield
        assert set(model.parent.parent.rglob("*")) == files
        assert children() == processes

    def test_windows_have_the_requested_number_of_samples(self, any_runner, model):
        with any_runner.load(model, CAPACITY) as loaded:
            # Workloads alternate, and more samples are requested than they have tokens.
            for samples, workload in itertools.product((1, 3, 10, 1), WORKLOADS):
                check_window(loaded.time(workload, samples), samples)

    def test_a_model_moves_and_so_do_those_that_are_loaded_later(self, any_runner, model, other):
        with any_runner.load(model, CAPACITY) as loaded:
            loaded.time(WORKLOADS[0], 3)
            before = loaded.loading
            cores = other_cores(before.cores)
            loaded.move(cores)
            assert loaded.loading == replace(before, cores=cores)
            for workload in WORKLOADS[:2]:  # some runners start a process for the second one
                check_window(loaded.time(workload, 3), 3)
            with any_runner.load(other, CAPACITY) as later:
                assert later.loading.cores == cores
                check_window(later.time(WORKLOADS[0], 3), 3)
        with any_runner.load(other, CAPACITY) as latest:
            assert latest.loading.cores == cores

    def test_two_models_are_timed_alternately_on_the_same_cores(self, runner, model, other):
        with runner.load(model, CAPACITY) as one, runner.load(other, CAPACITY) as two:
            assert one.loading.cores == two.loading.cores
            for _ in range(3):
                for loaded in (one, two):
                    assert len(loaded.time(WORKLOADS[0], 4).samples_ns) == 4

    def test_one_model_may_be_loaded_twice_at_once(self, runner, model):
        with runner.load(model, CAPACITY) as one:
            with runner.load(model, CAPACITY) as two:
                assert two.time(WORKLOADS[0], 1)
            assert one.time(WORKLOADS[0], 1)

    def test_loading_is_described(self, runner, model):
        with runner.load(model, CAPACITY) as loaded:
            loading = loaded.loading
        assert loading.runtime
        assert loading.threads >= 1
        assert len(loading.cores) in (0, loading.threads)
        assert loading.load_ns > 0
        assert loading.model_bytes >= model.stat().st_size
        assert 0 < loading.empty_memory_bytes <= loading.loaded_memory_bytes

    def test_a_snapshot_shows_the_current_state_of_the_device(self, runner, model):
        with runner.load(model, CAPACITY) as loaded:
            before = loaded.snapshot()
            loaded.time(WORKLOADS[0], 100)
            after = loaded.snapshot()
        assert before.environment.host
        assert before.environment.runtime_version
        assert (before.counters is None) == (after.counters is None)
        if before.counters is not None and after.counters is not None:
            assert after.counters.at_ns > before.counters.at_ns
            assert after.counters.own_s > before.counters.own_s
            for core in loaded.loading.cores:
                assert after.counters.busy_s[core] >= before.counters.busy_s[core]

    def test_the_model_file_is_not_changed(self, runner, model):
        before = {path.name: path.read_bytes() for path in model.parent.iterdir()}
        with runner.load(model, CAPACITY) as loaded:
            loaded.time(WORKLOADS[0], 1)
            assert {path.name: path.read_bytes() for path in model.parent.iterdir()} == before

    def test_a_file_that_is_no_model_is_refused(self, runner, tmp_path):
        broken = self.write_model(tmp_path / "broken")
        kept = {path: path.read_bytes() for path in broken.parent.iterdir()}
        for path in kept:
            path.write_bytes(b"{}")
        with pytest.raises(RunnerError) as caught, runner.load(broken, CAPACITY):
            pass
        assert caught.value.kind == "refused"
        for path in kept:
            path.unlink()
        broken.parent.rmdir()

    def test_a_workload_beyond_the_capacity_is_refused(self, runner, model):
        with (
            runner.load(model, CAPACITY) as loaded,
            pytest.raises(RunnerError, match=r"^refused: .*exceeds? the capacity of 16"),
        ):
            loaded.time(Workload(phase="decode", tokens=9, depth=8), 1)

    def test_an_exception_of_the_caller_propagates(self, runner, model):
        with pytest.raises(ZeroDivisionError), runner.load(model, CAPACITY):
            raise ZeroDivisionError

    # If Python is interrupted right after opening a file, the garbage collector closes the file.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("after_s", [0.02, 0.3, 0.8])
    def test_an_interrupt_propagates(self, runner, model, after_s):
        threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            load_and_time_for_ever(runner, model)

    def test_the_fingerprint_is_constant_while_nothing_changes(self, runner, model):
        before = runner.fingerprint
        with runner.load(model, CAPACITY):
            assert runner.fingerprint == before


class ProcessRunnerConformance(RunnerConformance):
    """The tests for runners that hold each model in a process of its own.

    A subclass also provides the `impatient` fixture and its `patience_s`.
    """

    patience_s: float

    @pytest.fixture
    def impatient(self) -> Runner:
        """Return a runner that gives up on a process after `patience_s` without an answer."""
        raise NotImplementedError

    @pytest.mark.parametrize(
        ("ended_by", "kind"), [(signal.SIGTERM, "crashed"), (signal.SIGKILL, "killed")]
    )
    def test_a_process_that_ends_between_windows_does_not_affect_the_other_model(
        self, runner, model, other, ended_by, kind
    ):
        with runner.load(other, CAPACITY) as healthy:
            others = children()
            with runner.load(model, CAPACITY) as loaded:
                loaded.time(WORKLOADS[0], 1)
                (process,) = children() - others
                os.kill(process, ended_by)
                for _ in range(2):  # every later request fails in the same way
                    with pytest.raises(RunnerError) as caught:
                        loaded.time(WORKLOADS[0], 1)
                    assert caught.value.kind == kind
                with pytest.raises(RunnerError):
                    loaded.snapshot()
                with pytest.raises(RunnerError):
                    loaded.move(loaded.loading.cores)
                assert healthy.time(WORKLOADS[0], 1)
            assert healthy.snapshot()

    @pytest.mark.parametrize(
        ("before", "after", "kind"),
        [(3, 3, "killed"), (3, 4, "out of memory"), (None, None, "killed")],
    )
    def test_only_the_kernel_kills_for_lack_of_memory(
        self, runner, model, tmp_path_factory, monkeypatch, before, after, kind
    ):
        """The signal is the same, so that the kernel's counter decides."""
        counter = tmp_path_factory.mktemp("proc") / "vmstat"
        monkeypatch.setattr("hardware.memory_kills.PROC", counter.parent)

        def count(kills: int | None) -> None:
            if kills is not None:
                counter.write_text(f"oom_kill {kills}\n")

        count(before)
        others = children()
        with runner.load(model, CAPACITY) as loaded:
            loaded.time(WORKLOADS[0], 1)
            (process,) = children() - others
            count(after)
            os.kill(process, signal.SIGKILL)
            with pytest.raises(RunnerError) as caught:
                loaded.time(WORKLOADS[0], 1)
            assert caught.value.kind == kind
            assert "SIGKILL" in caught.value.reason

    def test_kills_while_the_process_was_alive_do_not_concern_it(
        self, runner, model, tmp_path_factory, monkeypatch
    ):
        counter = tmp_path_factory.mktemp("proc") / "vmstat"
        monkeypatch.setattr("hardware.memory_kills.PROC", counter.parent)
        counter.write_text("oom_kill 3\n")
        others = children()
        with runner.load(model, CAPACITY) as loaded:
            counter.write_text("oom_kill 4\n")
            loaded.time(WORKLOADS[0], 1)
            (process,) = children() - others
            os.kill(process, signal.SIGKILL)
            with pytest.raises(RunnerError) as caught:
                loaded.time(WORKLOADS[0], 1)
            assert caught.value.kind == "killed"

    def test_a_moved_process_runs_on_its_new_core(self, runner, model, other):
        others = children()
        with runner.load(model, CAPACITY) as loaded:
            core = other_cores(loaded.loading.cores)
            loaded.move(core)
            with runner.load(other, CAPACITY) as later:
                for _ in range(2):
                    processes = children() - others
                    assert len(processes) == 2
                    for process in processes:
                        assert os.sched_getaffinity(process) == set(core)
                    # Some runners start new processes for these.
                    loaded.time(WORKLOADS[1], 1)
                    later.time(WORKLOADS[1], 1)

    def test_a_process_that_hangs_is_given_up(self, impatient, model):
        others = children()
        with impatient.load(model, CAPACITY) as loaded:
            (process,) = children() - others
            os.kill(process, signal.SIGSTOP)
            with pytest.raises(RunnerError) as caught:
                loaded.time(WORKLOADS[0], 1)
            assert caught.value.kind == "timed out"
            assert caught.value.reason == f"no answer within {self.patience_s:g} s"
            assert children() == others

    def test_no_request_can_follow_an_interrupted_one(self, runner, model):
        with runner.load(model, CAPACITY) as loaded:
            others = children()
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                loaded.time(WORKLOADS[0], 1_000_000)
            with pytest.raises(RunnerError) as caught:  # instead of the interrupted answer
                loaded.time(WORKLOADS[0], 1)
            assert caught.value.kind == "crashed"
            assert len(children()) < len(others)

    def test_a_model_outlives_the_thread_that_loaded_it(self, runner, model):
        with contextlib.ExitStack() as contexts, ThreadPoolExecutor(1) as thread:
            loaded = thread.submit(contexts.enter_context, runner.load(model, CAPACITY)).result()
            thread.shutdown()
            for _ in range(10):
                time.sleep(0.01)
                assert loaded.time(WORKLOADS[0], 1)
