"""Waiting for a core that another program keeps busy, and taking precedence over it (Linux).

Other programs may use this machine during the tests, so that no bound here is tight. Where a test
expects that nothing waits, it looks for one short window among many that were left alone.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.local import LocalRunner
from hardware.measurement import Workload
from hardware.runner import LoadedModel, Window
from search_space.onnx_model import write_onnx
from tests.hardware.competitors import CORE, competitor
from tests.hardware.conformance import CAPACITY, children, write_model
from tests.search_space.strategies import CONV, stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pins programs to cores")

TOKEN = Workload(phase="decode", tokens=1)
PROMPT = Workload(phase="prefill", tokens=CAPACITY)
# Each of these windows lasts far longer than the system lets two programs alternate.
WINDOWS, SAMPLES = 8, 1_000
# In these, which last about a millisecond, a model is rarely interrupted.
SHORT_WINDOWS, FEW_SAMPLES = 300, 10


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def wide_model(tmp_path) -> Path:
    """Write a model whose layers are large enough for two threads to share the work."""
    folder = tmp_path / "wide"
    folder.mkdir()
    architecture = stack(CONV, CONV, CONV, width=512, embedding_width=512)
    return write_onnx(architecture, folder, quantization="int8", context_length=CAPACITY)


@contextlib.contextmanager
def load(model: Path, *cores: int, precedence: bool = False) -> Iterator[LoadedModel]:
    runner = LocalRunner(
        threads=len(cores), choose_cores=lambda _: list(cores), precedence=precedence
    )
    with runner.load(model, CAPACITY) as loaded:
        loaded.time(PROMPT, 10)  # warm-up
        yield loaded


def may_take_precedence() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


def share(window: Window) -> float:
    assert window.waited_ns is not None
    return sum(window.waited_ns) / sum(window.samples_ns)


def shares(loaded: LoadedModel, workload: Workload = TOKEN, samples: int = SAMPLES) -> list[float]:
    return sorted(share(loaded.time(workload, samples)) for _ in range(WINDOWS))


def least_share(loaded: LoadedModel, workload: Workload = TOKEN) -> float:
    return min(share(loaded.time(workload, FEW_SAMPLES)) for _ in range(SHORT_WINDOWS))


def test_two_programs_on_one_core_wait_about_half_of_the_time(model):
    with load(model, CORE) as loaded, competitor():
        middle = shares(loaded)[WINDOWS // 2]
    # More programs than these two may use the core, and the scheduler shares it between groups.
    assert 0.2 < middle < 0.95


def test_the_rest_is_processor_time(model):
    """Compare with the processor time of the process, which also answers two requests."""
    with load(model, CORE) as loaded, competitor():
        before = loaded.snapshot().counters
        window = loaded.time(TOKEN, 10 * SAMPLES)
        after = loaded.snapshot().counters
    running_s = (sum(window.samples_ns) - sum(window.waited_ns)) / 1e9
    assert before is not None
    assert after is not None
    assert 0.8 < running_s / (after.own_s - before.own_s) <= 1.0


def test_a_model_on_its_own_does_not_wait(model):
    with load(model, CORE) as loaded:
        assert least_share(loaded) < 0.05


@pytest.fixture
def two_cores() -> tuple[int, int]:
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        pytest.skip("this process may use one core only")
    return allowed[0], allowed[1]


@pytest.mark.parametrize("busy", [0, 1])
def test_two_threads_wait_if_one_of_their_cores_is_busy(two_cores, wide_model, busy):
    others = children()
    with load(wide_model, *two_cores) as loaded:
        (process,) = children() - others
        for thread in (int(task.name) for task in Path(f"/proc/{process}/task").iterdir()):
            # So that only the thread on the busy core waits.
            if may_take_precedence() and os.sched_getaffinity(thread) == {two_cores[1 - busy]}:
                os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
        with competitor(two_cores[busy]):
            middle = shares(loaded, PROMPT, SAMPLES // 10)[WINDOWS // 2]
    assert 0.1 < middle < 0.95


def test_two_threads_on_their_own_do_not_wait(two_cores, wide_model):
    with load(wide_model, *two_cores) as loaded:
        assert least_share(loaded) < 0.05


class TestPrecedence:
    @pytest.fixture(autouse=True)
    def permission(self) -> None:
        if not may_take_precedence():
            pytest.skip("this process may not choose how it is scheduled")

    def test_a_model_with_precedence_does_not_wait(self, model):
        with load(model, CORE, precedence=True) as loaded, competitor():
            first, *_ = shares(loaded)
        assert first < 0.1

    @pytest.mark.parametrize("threads", [1, 2])
    def test_all_its_threads_have_it_during_a_window_only(self, wide_model, threads):
        if len(os.sched_getaffinity(0)) < threads:
            pytest.skip(f"this process may use fewer than {threads} cores")
        before, during, after = policies(wide_model, threads)
        assert during == [os.SCHED_FIFO] * threads
        assert before == after == [os.SCHED_OTHER] * threads

    def test_the_calling_thread_has_it_even_if_it_is_not_the_first_one(self, model):
        before, during, after = policies(model, in_thread=True)
        assert during == [os.SCHED_FIFO, os.SCHED_OTHER]
        assert before == after == [os.SCHED_OTHER] * 2

    def test_it_ends_with_a_failed_window(self, model):
        _, during, after = policies(model, fails=True)
        assert during == [os.SCHED_FIFO]
        assert after == [os.SCHED_OTHER]

    def test_it_is_taken_on_request_only(self, model):
        before, during, after = policies(model, precedence=False)
        assert before == during == after == [os.SCHED_OTHER]


OBSERVE = """
import contextlib, json, os, sys, threading
from hardware.bench import Bench
from hardware.onnx_session import Session

options = json.loads(sys.argv[1])
fails, in_thread = options.pop("fails"), options.pop("in_thread")

def observe():
    others = set(map(int, os.listdir("/proc/self/task"))) - {threading.get_native_id()}
    observed.append([os.sched_getscheduler(thread) for thread in (0, *others)])

def run(session, tokens, run=Session.run):
    run(session, tokens)
    observe()
    if fails:
        raise ValueError

def work():
    bench = Bench(**options)
    observe()
    Session.run = run
    with contextlib.suppress(ValueError):
        bench.answer({"time": {"phase": "decode", "tokens": 1, "depth": 0}, "samples": 1})
    observe()

observed = []
if in_thread:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
else:
    work()
print(json.dumps(observed))
"""


def policies(
    model: Path,
    threads: int = 1,
    *,
    precedence: bool = True,
    in_thread: bool = False,
    fails: bool = False,
) -> list[list[int]]:
    """Return the scheduling policies of a program's threads before, during and after a window.

    The calling thread comes first.
    """
    options = {
        "model": str(model),
        "capacity": CAPACITY,
        "cores": sorted(os.sched_getaffinity(0))[:threads],
        "threads": threads,
        "precedence": precedence,
        "in_thread": in_thread,
        "fails": fails,
    }
    done = subprocess.run(
        [sys.executable, "-c", OBSERVE, json.dumps(options)],
        env=os.environ | {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    observed: list[list[int]] = json.loads(done.stdout)
    return observed
