"""Stopping, moving and timing a program that speaks llama-bench's protocol (Linux)."""

import contextlib
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hardware.llama_bench import BenchRun, LlamaBench
from hardware.llama_cpp import LlamaCppRunner
from tests.hardware.competitors import CORE, competitor
from tests.hardware.conformance import WORKLOADS, check_window, children, other_cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds threads in /proc")

RUN_S = 0.1
# Each run takes this processor time in the first thread; the second thread only sleeps.
PROGRAM = f"""
import json, sys, threading, time

threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print("benchmark: starting", "benchmark: warmup", sep="\\n", file=sys.stderr, flush=True)
while True:
    print("run: starting", file=sys.stderr, flush=True)
    start, used_s = time.perf_counter_ns(), time.thread_time()
    while time.thread_time() < used_s + {RUN_S}:
        pass
    print(json.dumps({{"samples_ns": [time.perf_counter_ns() - start]}}), flush=True)
"""


@contextlib.contextmanager
def started(*cores: int) -> Iterator[LlamaBench]:
    process = LlamaBench([sys.executable, "-c", PROGRAM], cores, timeout_s=60.0)
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
    # On a busy machine, a run's waiting time may include that of the beginning of the next run.
    assert 0.6 * RUN_S < running_s(alone) < 1.5 * RUN_S
    assert 0.6 * RUN_S < running_s(sharing) < 1.5 * RUN_S
    # Several programs may use this core, but at least two do.
    assert statistics.median(run.run_ns for run in sharing) / 1e9 > 1.4 * RUN_S


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
