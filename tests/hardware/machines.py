"""Processes on one machine that record their events in a shared file."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hardware.machine_lock import LockWait
from hardware.quiet import measuring

# Far more than anything in these tests takes, even on a busy machine.
PATIENCE_S = 60.0

PRELUDE = """
import os, signal, sys, time
from pathlib import Path
from hardware.quiet import measuring, yielding_to_measurements

folder = Path(sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have disabled it

def write(event):
    with open(folder / "events", "a") as file:
        file.write(event + "\\n")

def measure():
    return measuring(write, patience_s=0.0, folder=folder)
"""


class Machine:
    """Processes that share a folder with lock files and a file of events."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, script: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + script, str(self.folder)], stderr=subprocess.DEVNULL
        )
        self._processes.append(process)
        return process

    def measuring(
        self, report: Callable[[str], None] = lambda _: None, wait: LockWait | None = None
    ):
        wait = wait or LockWait()
        return measuring(report, patience_s=0.0, lock_wait=wait, folder=self.folder)

    def events(self) -> list[str]:
        path = self.folder / "events"
        return path.read_text().splitlines() if path.exists() else []

    def write(self, event: str) -> None:
        with (self.folder / "events").open("a") as file:
            file.write(event + "\n")

    def count(self, event: str) -> int:
        """Return the number of events so far that begin with this text."""
        return sum(each.startswith(event) for each in self.events())

    def wait_for(self, event: str, times: int = 1) -> None:
        wait_until(lambda: self.count(event) >= times)

    def wait_for_another(self, event: str) -> None:
        self.wait_for(event, self.count(event) + 1)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "the condition did not become true in time"
        time.sleep(0.005)
