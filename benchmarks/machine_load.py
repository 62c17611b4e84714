"""Keep this machine busy in one of the ways in which users' machines are.

    python benchmarks/machine_load.py LOAD [--core 0]

Runs until it gets SIGINT (Ctrl-C) or SIGTERM. The loads:

    cpu         one process that computes without memory traffic, pinned to one core
    cpu-all     the same on every core
    memory-all  a process on every core that streams through an array larger than its caches
    mix         ordinary work: installing a package and running a test suite
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

LOADS = ("cpu", "cpu-all", "memory-all", "mix")

_COMPUTE = "x = 1\nwhile True: x = (x * 1103515245 + 12345) % 2147483648"
_STREAM = "import numpy as np; a = np.ones(1 << 23)\nwhile True: a += 1.0"
_START_SECONDS = 1.0
_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def machine_load(load: str | None, core: int) -> Iterator[None]:
    """Keep the machine busy until the context ends.

    Args:
        load: One of `LOADS`, or None for a machine that is left alone.
        core: The core that is measured on, which the load `cpu` is pinned to.
    """
    with tempfile.TemporaryDirectory(prefix="nas-load-") as folder:
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for command in _commands(load, core, folder):
                processes.append(_start(*command))  # noqa: PERF401 - one by one: all are ended below
            if processes:
                time.sleep(_START_SECONDS)
            yield
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _commands(load: str | None, core: int, folder: str) -> list[tuple[Sequence[str], int | None]]:
    """Return command lines, each with the core that it is pinned to."""
    cores = sorted(os.sched_getaffinity(0))
    python = sys.executable
    match load:
        case None:
            return []
        case "cpu":
            return [((python, "-c", _COMPUTE), core)]
        case "cpu-all":
            return [((python, "-c", _COMPUTE), each) for each in cores]
        case "memory-all":
            return [((python, "-c", _STREAM), each) for each in cores]
        case "mix":
            install = f"{python} -m pip install -q --no-cache-dir --upgrade --target {folder} numpy"
            tests = f"{python} -m pytest -q -x -p no:cacheprovider tests/search_space"
            return [(("sh", "-c", f"while :; do {each}; done"), None) for each in (install, tests)]
        case _:
            raise ValueError(f"load: '{load}' is not one of {', '.join(LOADS)}")


def _start(command: Sequence[str], core: int | None) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if core is not None:
        os.sched_setaffinity(process.pid, [core])
    return process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("load", choices=LOADS)
    parser.add_argument("--core", type=int, default=0)
    arguments = parser.parse_args()
    # The signals wait until all programs have started, so that none is left behind. A shell starts
    # background jobs with SIGINT ignored.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    for number in _ENDING:
        signal.signal(number, signal.SIG_DFL)
    with machine_load(arguments.load, arguments.core):
        signal.sigwait(_ENDING)


if __name__ == "__main__":
    main()
