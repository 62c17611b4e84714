"""The loads of benchmarks/machine_load.py end together with it (Linux)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "machine_load.py"
CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 0
PATIENCE_S = 60.0


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def wait_for(condition) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "the condition did not become true in time"
        time.sleep(0.005)


@pytest.fixture(params=["default", "ignored"])
def load(request) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process on every core, with SIGINT ignored as in the background of a shell or not."""
    handler = {"default": signal.SIG_DFL, "ignored": signal.SIG_IGN}[request.param]
    start = (
        "import os, signal, sys\n"
        f"signal.signal(signal.SIGINT, signal.Handlers({int(handler)}))\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    with subprocess.Popen([sys.executable, "-c", start, PROGRAM, "cpu-all"]) as process:
        yield process
        if process.poll() is None:  # a test has failed
            for pid in [*children(process.pid), process.pid]:
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("started", [1, CORES])
def test_a_signal_ends_it_and_its_children(load, number, started):
    """Also while it is still starting them."""
    wait_for(lambda: len(children(load.pid)) >= started)
    found = children(load.pid)
    load.send_signal(number)
    assert load.wait(PATIENCE_S) == 0
    assert not [pid for pid in found if Path(f"/proc/{pid}").exists()]


def test_it_runs_until_then(load):
    wait_for(lambda: len(children(load.pid)) == CORES)
    time.sleep(0.1)
    assert load.poll() is None
    assert len(children(load.pid)) == CORES
    load.terminate()
    assert load.wait(PATIENCE_S) == 0
