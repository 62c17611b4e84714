"""Processes between a host and its models die or stop at random moments, again and again."""

import fcntl
import os
import random
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from hardware.channels.command import CommandChannel
from hardware.machine_lock import LockWait, MachineLock
from hardware.measurement import parse_workload
from hardware.quiet import _MEASURING, _machine_folder
from hardware.remote.connection import DeviceConnection
from hardware.remote.remote_runner import RemoteRunner, RemoteSettings
from hardware.runner import RunnerError
from tests.hardware.conformance import CAPACITY, check_window, write_model
from tests.hardware.machines import wait_until
from tests.hardware.remote import relay
from tests.hardware.remote.raw_agent import descendants, is_running

WORKLOAD = parse_workload("tg4@8")
SILENCE_S = 3.0
# Longer than the silence, and the time to connect and load a model on a busy machine.
LONGEST_RECOVERY_S = 90.0
# A stopped model does not end within minutes, so models are only killed.
FAULTS = [
    ("relay.py", signal.SIGKILL),
    ("relay.py", signal.SIGSTOP),  # like a network that loses all packets
    ("agent", signal.SIGKILL),
    ("agent", signal.SIGSTOP),
    ("hardware.bench", signal.SIGKILL),
    ("hardware.bench", signal.SIGTERM),
]


class FaultThread(threading.Thread):
    """Sends a signal to a process of a kind, as soon as there is one after a while.

    Attributes:
        happened_at: When it did so, on the monotonic clock; None before.
    """

    def __init__(self, kind: str, number: signal.Signals, after_s: float) -> None:
        super().__init__()
        self._kind = kind
        self._number = number
        self._after_s = after_s
        self.happened_at: float | None = None

    def run(self) -> None:
        time.sleep(self._after_s)
        while self.happened_at is None:
            for pid in sorted(descendants(os.getpid())):
                if _kind_of(pid) == self._kind:
                    os.kill(pid, self._number)
                    self.happened_at = time.monotonic()
                    return
            time.sleep(0.005)


def _kind_of(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
    for kind in ("relay.py", "hardware.bench"):
        if kind in command:
            return kind
    return "agent" if command else ""  # its first program has another command


def alive_with(folder: Path) -> set[int]:
    """Return the processes whose environment names a folder, except this one."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "environ").read_bytes():
                found.add(int(process.name))
        except OSError:
            continue
    return {pid for pid in found - {os.getpid()} if is_running(pid)}


def measure(runner: RemoteRunner, model: Path) -> None:
    """Measure for a while, like an evaluator, next to a second model."""
    wait = LockWait(longest_wait=60.0)
    with (
        runner.measuring(lambda _: None, patience_s=0.0, lock_wait=wait),
        runner.load(model, CAPACITY) as one,
        runner.load(model, CAPACITY) as two,
    ):
        for _ in range(10):
            for loaded in (one, two):
                check_window(loaded.time(WORKLOAD, 50), 50)
        one.snapshot()


def recover(
    runner: RemoteRunner, model: Path, fault: FaultThread, errors: list[RunnerError]
) -> float:
    """Measure until a fault has happened, and a measurement has succeeded after it.

    Args:
        runner: Measures.
        model: The model.
        fault: Has been started.
        errors: Receives the errors of failed measurements.

    Returns:
        The seconds between the two.
    """
    while True:
        happened = fault.happened_at
        try:
            measure(runner, model)
        except RunnerError as error:
            errors.append(error)
        else:
            if happened is not None:
                return time.monotonic() - happened


@pytest.mark.parametrize("count", [10, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("nothing_stays")
def test_measuring_recovers_from_every_fault(agent_folder, tmp_path, count):
    model = write_model(tmp_path / "model")
    channel = CommandChannel((sys.executable, relay.__file__), python=sys.executable)
    connect = partial(DeviceConnection, silence_s=SILENCE_S)
    generator = random.Random(count)
    recoveries, errors = [], list[RunnerError]()
    with RemoteRunner(channel, RemoteSettings(), connect) as runner:
        for number in range(count):
            fault = FaultThread(*FAULTS[number % len(FAULTS)], generator.uniform(0.0, 2.0))
            fault.start()
            recoveries.append(recover(runner, model, fault, errors))
            fault.join()
        runner.close()
        wait_until(lambda: not alive_with(agent_folder))
        runner.exchange()  # the next agent deletes what those that were killed have left
    print("seconds until the next measurement:", [round(seconds, 1) for seconds in recoveries])
    assert max(recoveries) < LONGEST_RECOVERY_S
    assert {error.kind for error in errors} <= {"lost", "killed", "crashed"}
    assert all(error.reason.isprintable() for error in errors)
    wait_until(lambda: not alive_with(agent_folder))
    assert list(agent_folder.glob("*/runs/*")) == []
    with MachineLock(_machine_folder() / _MEASURING) as lock:
        assert lock.take(fcntl.LOCK_EX, 60.0, lambda *_: None)
