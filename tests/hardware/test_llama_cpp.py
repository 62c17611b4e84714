import contextlib
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hardware import llama_cpp
from hardware.llama_bench import LlamaBench
from hardware.llama_cpp import LlamaCppRunner
from hardware.measurement import Workload
from hardware.runner import RunnerError
from search_space.llama_cpp.gguf_file import write_gguf
from tests.hardware.conformance import CAPACITY, WORKLOADS, ProcessRunnerConformance, children
from tests.hardware.llama_programs import llama_program
from tests.search_space.strategies import ATTENTION, CONV, stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

TOKEN = Workload(phase="decode", tokens=1)


def write_model(folder: Path) -> Path:
    """Write a model of a few kilobytes."""
    folder.mkdir()
    architecture = stack(CONV, replace(ATTENTION, heads=2))
    path = folder / "model.gguf"
    return write_gguf(architecture, path, quantization="int4", context_length=CAPACITY)


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def runner() -> LlamaCppRunner:
    return LlamaCppRunner(llama_program("llama-bench"))


class TestLlamaCppRunner(ProcessRunnerConformance):
    patience_s = 1.0

    def make_runner(self, threads: int = 1) -> LlamaCppRunner:
        return LlamaCppRunner(llama_program("llama-bench"), threads=threads)

    @pytest.fixture
    def impatient(self) -> LlamaCppRunner:
        return LlamaCppRunner(llama_program("llama-bench"), timeout_s=self.patience_s)

    def write_model(self, folder: Path) -> Path:
        return write_model(folder)

    def test_a_process_that_hangs_is_given_up(self, impatient, model):
        """Check this in the middle of a window; between windows the process is stopped anyway."""
        others = children()

        def hang() -> None:
            # The runner continues the process after each run, so one signal may not be enough.
            while processes := children() - others:
                for process in processes:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGSTOP)
                time.sleep(0.001)

        with impatient.load(model, CAPACITY) as loaded:
            threading.Timer(0.3, hang).start()
            with pytest.raises(RunnerError) as caught:
                loaded.time(WORKLOADS[0], 1_000_000)
            assert caught.value.kind == "timed out"
            assert caught.value.reason == f"no answer within {self.patience_s:g} s"
            assert children() == others


def failure(runner: LlamaCppRunner, model: Path) -> RunnerError:
    """Return the error that loading ends with."""
    before = children()
    with pytest.raises(RunnerError) as caught, runner.load(model, CAPACITY):
        pass
    assert children() == before
    return caught.value


def test_refusals_quote_llama_cpps_own_message(runner, model):
    content = model.read_bytes()
    model.write_bytes(content.replace(b"lfm2", b"lfmX"))
    assert "unknown model architecture: 'lfmX'" in failure(runner, model).reason
    model.write_bytes(content[:-1000])
    assert "corrupted or incomplete" in failure(runner, model).reason


def test_a_missing_file_is_refused(runner, model):
    error = failure(runner, model.with_name("absent"))
    assert error.kind == "refused"
    assert error.reason.endswith("absent is not a file")


def test_the_process_is_stopped_between_windows(runner, model):
    with runner.load(model, CAPACITY) as loaded:
        for samples in (1, 20):
            loaded.time(TOKEN, samples)
            before = loaded.snapshot().counters
            time.sleep(0.1)
            after = loaded.snapshot().counters
            assert before is not None
            assert after is not None
            assert after.own_s == before.own_s


def test_no_sample_contains_the_time_that_it_is_stopped(runner, model):
    """Otherwise one sample of every window would; a busy machine delays only a few."""
    longest_ns = []
    with runner.load(model, CAPACITY) as loaded:
        for _ in range(10):
            longest_ns.append(max(loaded.time(TOKEN, 3).samples_ns))
            time.sleep(0.3)
    assert statistics.median(longest_ns) < 0.3e9


def test_a_late_stop_may_come_after_the_last_run(runner, model, monkeypatch):
    """A fast model may start and end several runs before it is stopped."""
    monkeypatch.setattr(llama_cpp, "_RUNS", 50)
    resume, missed = LlamaBench.resume, [51]

    def resume_late(process: LlamaBench) -> None:
        resume(process)
        for _ in range(missed.pop() if missed else 0):
            process.run()

    monkeypatch.setattr(LlamaBench, "resume", resume_late)
    with runner.load(model, CAPACITY) as loaded:
        assert len(loaded.time(TOKEN, 200).samples_ns) == 200


def test_the_process_is_pinned_to_the_reported_cores(runner, model):
    others = children()
    with runner.load(model, CAPACITY) as loaded:
        for _ in range(2):
            (process,) = children() - others
            assert os.sched_getaffinity(process) == set(loaded.loading.cores)
            loaded.time(TOKEN, 1)


@pytest.mark.parametrize("samples", [1, 10**9])
def test_a_process_dies_with_its_parent(samples, model):
    """Check this between two windows and in the middle of one."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from hardware.llama_cpp import LlamaCppRunner\n"
        "from hardware.measurement import Workload\n"
        f"runner = LlamaCppRunner(Path({str(llama_program('llama-bench'))!r}))\n"
        f"with runner.load(Path({str(model)!r}), {CAPACITY}) as loaded:\n"
        "    loaded.time(Workload(phase='decode', tokens=1), 1)\n"
        "    print('timed', flush=True)\n"
        f"    loaded.time(Workload(phase='decode', tokens=1), {samples})\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        try:
            assert parent.stdout.readline() == b"timed\n"
            (bench,) = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        finally:
            parent.kill()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{bench}/exe").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def program(folder: Path, does: str = "") -> Path:
    """Write a program that reports a version, and otherwise runs a shell command."""
    path = folder / "llama-bench"
    version = '[ "$1" = --version ] && echo "version: 1" && exit'
    path.write_text("\n".join(["#!/bin/sh", version, does]))
    path.chmod(0o755)
    return path


# The output of a llama-bench that has started and ended a run.
RUNS = "for i in 1 2 3; do echo 'run: starting, run: warmup' >&2; done"


@pytest.mark.parametrize(
    ("does", "kind", "reason"),
    [
        ("exit 3", "refused", "exit code 3: no output"),
        ("kill -SEGV $$", "crashed", "terminated by signal 11"),
        ("kill -KILL $$", "killed", "another program ended the process (SIGKILL)"),
        ("echo failed to allocate buffer >&2; exit 1", "out of memory", "failed to allocate"),
        ("exec sleep 60", "timed out", "no answer within 0.5 s"),
        ("exec 2>&-; exec sleep 60", "timed out", "no answer within 0.5 s"),
        (f"{RUNS}; echo hello; exec sleep 60", "crashed", "invalid answer 'hello'"),
        (f"{RUNS}; echo []; exec sleep 60", "crashed", "invalid answer '[]'"),
    ],
)
def test_a_failure_is_classified_by_how_the_program_ends(does, kind, reason, model, tmp_path):
    timeout_s = 0.5 if kind == "timed out" else 60.0
    error = failure(LlamaCppRunner(program(tmp_path, does), timeout_s=timeout_s), model)
    assert error.kind == kind
    assert reason in error.reason


def test_the_error_for_a_missing_program_says_where_to_get_it(tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match=r"^llama_bench: '.*absent' is not an installed program; .*make"
    ):
        LlamaCppRunner(tmp_path / "absent")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"^llama_bench: 'llama-bench' is not an installed program"
    ):
        LlamaCppRunner()
    assert LlamaCppRunner(program(tmp_path)).fingerprint == LlamaCppRunner().fingerprint


def test_a_program_that_is_not_llama_bench_is_refused():
    with pytest.raises(ValueError, match=r"^llama_bench: '/bin/true' is not llama-bench: it"):
        LlamaCppRunner(Path("/bin/true"))


def test_more_threads_than_cores_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^threads: 10000 is not between 1 and \d+, the number"):
        LlamaCppRunner(program(tmp_path), threads=10_000)


def test_settings_that_change_a_time_change_the_fingerprint(tmp_path):
    path = program(tmp_path)
    threads = range(1, 1 + len(os.sched_getaffinity(0)))
    fingerprints = {LlamaCppRunner(path, threads=count).fingerprint for count in threads}
    assert len(fingerprints) == len(threads)
