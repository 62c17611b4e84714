"""Stopping, moving and timing a program that speaks llama-bench's protocol (Linux)."""

import contextlib
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hardware import llama_bench
from hardware.llama_bench import BenchRun, LlamaBench
from hardware.llama_cpp import LlamaCppRunner
from hardware.thread_scheduling import parse_waited_ns
from tests.hardware.competitors import CORE, competitor
from tests.hardware.conformance import WORKLOADS, check_window, children, other_cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds threads in /proc")

RUN_S = 0.1
# Each run takes this processor time in the first thread, after it was prepared for as long. The
# second thread only sleeps.
PROGRAM = f"""
import json, sys, threading, time

def work():
    used_s = time.thread_time()
    while time.thread_time() < used_s + {RUN_S}:
        pass

threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print("benchmark: starting", "benchmark: warmup", sep="\\n", file=sys.stderr, flush=True)
while True:
    print("run: starting", file=sys.stderr, flush=True)
    work()
    print("run: generation run", file=sys.stderr, flush=True)
    start = time.perf_counter_ns()
    work()
    print(json.dumps({{"samples_ns": [time.perf_counter_ns() - start]}}), flush=True)
"""
# The result of the first run is 1, that of the second run 2, and so on. When the log exists, the
# program begins the first run, and adds a line to the log before each run and after its result.
NUMBERS = """
import itertools, os, sys

print("benchmark: warmup", file=sys.stderr, flush=True)
while not os.path.exists(sys.argv[1]):
    pass
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for number in itertools.count(1):
    os.write(log, f"begin {number}\\n".encode())
    print("run: generation run", file=sys.stderr, flush=True)
    os.write(1, f'{{"samples_ns": [{number}]}}\\n'.encode())
    os.write(log, f"end {number}\\n".encode())
"""


@contextlib.contextmanager
def started(*cores: int, program: str = PROGRAM, argument: str = "") -> Iterator[LlamaBench]:
    command = [sys.executable, "-c", program, argument]
    process = LlamaBench(command, cores, timeout_s=60.0)
    try:
        process.wait_for(": warmup")
        yield process
    finally:
        process.end()


def running_s(runs: Sequence[BenchRun]) -> float:
    """Return the median time of the runs without waiting."""
    running = []
    for run in runs:
        assert run.waited_ns is not None
        assert 0 <= run.waited_ns <= run.run_ns
        running.append((run.run_ns - run.waited_ns) / 1e9)
    return statistics.median(running)


def test_without_waiting_a_run_takes_its_processor_time():
    with started(CORE) as process:
        process.run()
        alone = [process.run() for _ in range(5)]
        with competitor():
            process.run()
            sharing = [process.run() for _ in range(5)]
    assert 0.6 * RUN_S < running_s(alone) < 1.5 * RUN_S
    assert 0.6 * RUN_S < running_s(sharing) < 1.5 * RUN_S
    # Several programs may use this core, but at least two do.
    assert statistics.median(run.run_ns for run in sharing) / 1e9 > 1.4 * RUN_S


@pytest.fixture
def late_stop(monkeypatch) -> None:
    """Delay each stop, as if this process had to wait for a core."""
    stop = LlamaBench.stop

    def stop_late(process: LlamaBench) -> None:
        time.sleep(2 * RUN_S)
        stop(process)

    monkeypatch.setattr(LlamaBench, "stop", stop_late)


def test_waiting_after_a_run_does_not_count(late_stop):
    with started(CORE) as process, competitor():
        process.run()
        runs = [process.run() for _ in range(5)]
    assert 0.6 * RUN_S < running_s(runs) < 1.5 * RUN_S


def last_line(log: Path) -> str:
    return log.read_text().splitlines()[-1]


def test_a_process_does_nothing_after_a_run(late_stop, tmp_path):
    log = tmp_path / "log"
    with started(CORE, program=NUMBERS, argument=str(log)) as process:
        log.touch()
        for number in range(1, 5):
            assert process.run().run_ns == number
            assert last_line(log) == f"begin {number}"


def test_a_run_that_a_late_stop_interrupts_does_not_count(late_stop, monkeypatch, tmp_path):
    """Other systems than Linux cannot stop a process right after a run."""
    monkeypatch.setattr(llama_bench, "_stop_at_writes", lambda *_: False)
    log = tmp_path / "log"
    with started(CORE, program=NUMBERS, argument=str(log)) as process:
        log.touch()
        for number in (1, 2):
            run = process.run()
            assert (run.run_ns, run.waited_ns) == (number, None)
        for _ in range(3):
            process.stop()
            event, number = last_line(log).split()
            process.resume()
            # If the last run has begun, it counts unless its progress shows that, too.
            first = int(number) + (event == "end")
            assert process.run().run_ns in (first, int(number) + 1)


def test_waiting_is_unknown_if_the_kernel_does_not_count_it(monkeypatch):
    monkeypatch.setattr(llama_bench, "parse_waited_ns", lambda _: parse_waited_ns("0 0 0"))
    with started(CORE) as process:
        assert process.run().waited_ns is None


def test_a_result_may_be_written_in_pieces():
    program = """
import sys, time

print("benchmark: warmup", file=sys.stderr, flush=True)
while True:
    for piece in ('{"samples_ns"', ": ", "[7]", "}\\n"):
        print(piece, end="", flush=True)
        time.sleep(0.01)
"""
    with started(CORE, program=program) as process:
        assert [process.run().run_ns for _ in range(3)] == [7, 7, 7]


def test_progress_of_any_length_delays_no_result():
    """A pipe that nobody reads holds 64 kB."""
    program = """
import sys

print("benchmark: warmup", file=sys.stderr, flush=True)
while True:
    print("any text\\n" * 100_000, file=sys.stderr, flush=True)
    print('{"samples_ns": [7]}', flush=True)
"""
    with started(CORE, program=program) as process:
        assert [process.run().run_ns for _ in range(3)] == [7, 7, 7]


def test_all_threads_are_pinned():
    others = children()
    (core,) = other_cores([CORE])
    with started(CORE) as process:
        (number,) = children() - others
        threads = list(Path(f"/proc/{number}/task").iterdir())
        assert len(threads) == 2
        process.pin([core])
        assert all(os.sched_getaffinity(int(thread.name)) == {core} for thread in threads)
        process.run()
        process.stop()
        process.pin([CORE])
        assert all(os.sched_getaffinity(int(thread.name)) == {CORE} for thread in threads)
        process.resume()
        process.run()


def test_a_process_that_has_ended_is_not_pinned():
    with started(CORE) as process:
        pass
    process.pin([CORE])


@pytest.fixture
def runner(tmp_path) -> LlamaCppRunner:
    program = tmp_path / "llama-bench"
    script = tmp_path / "script.py"
    script.write_text(PROGRAM.replace(str(RUN_S), "0.001"))
    version = '[ "$1" = --version ] && echo "version: 1" && exit'
    program.write_text(f"#!/bin/sh\n{version}\nexec {sys.executable} {script}\n")
    program.chmod(0o755)
    return LlamaCppRunner(program, choose_cores=lambda _: [CORE])


def test_models_move_to_other_cores(runner, tmp_path):
    """The conformance tests check the same with the real program, where it is installed."""
    model = tmp_path / "model.gguf"
    model.write_bytes(b"any")
    (core,) = other_cores([CORE])
    others = children()
    with runner.load(model, 64) as loaded:
        assert loaded.loading.cores == (CORE,)
        loaded.move([core])
        assert loaded.loading.cores == (core,)
        for workload in WORKLOADS:
            window = loaded.time(workload, 5)
            check_window(window, 5)
            assert window.waited_ns is not None
            (process,) = children() - others
            assert os.sched_getaffinity(process) == {core}
    with runner.load(model, 64) as later:
        assert later.loading.cores == (core,)
