"""How long threads wait for a core, and how to let other processes wait for them instead.

It needs only Python.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

_THREADS = Path("/proc/self/task")


def parse_waited_ns(schedstat: str | bytes) -> int | None:
    """Return how long a thread has waited for a core since it started, in ns (Linux).

    Args:
        schedstat: The content of the thread's file of this name: the time on a core and the time
            of waiting, in ns, and how often the thread got a core. A kernel that does not count
            these shows three zeros (`proc_pid_schedstat` in fs/proc/base.c).

    Returns:
        The time; None if the kernel does not count it, or if the thread has not run yet.

    Raises:
        ValueError: The content is not three numbers.
    """
    ran_ns, waited_ns, turns = map(int, schedstat.split())
    return None if ran_ns == waited_ns == turns == 0 else waited_ns


class WaitClock(Protocol):
    """Measures how long threads of this process wait for a core while they work."""

    def start(self) -> None:
        """Start to measure."""
        ...

    def waited_ns(self, sample_ns: int) -> int | None:
        """Return the time spent waiting since `start`, in ns.

        Args:
            sample_ns: The wall time since `start`, in ns, which the result does not exceed.

        Returns:
            The longest time that a thread waited; None if the system does not report it.
        """
        ...


def make_wait_clock(count: int, threads: Sequence[int], folder: Path = _THREADS) -> WaitClock:
    """Return the most precise clock that this system has.

    Args:
        count: How many threads do the work. A single one must be the calling thread.
        threads: The ids of these threads, as `own_threads` returns them; empty if unknown.
        folder: The folder that describes the threads of this process.
    """
    if count == 1:
        return _OneThreadClock()
    try:
        return _RunQueueClock(threads, folder) if threads else _NoClock()
    except OSError:
        return _NoClock()


class _OneThreadClock:
    """The WaitClock for work that the calling thread does alone.

    Time that the hypervisor took counts as waiting where the kernel knows of it.
    """

    def __init__(self) -> None:
        self._start_ns = 0

    def start(self) -> None:
        self._start_ns = time.thread_time_ns()

    def waited_ns(self, sample_ns: int) -> int:
        return max(0, sample_ns - (time.thread_time_ns() - self._start_ns))


class _RunQueueClock:
    """The WaitClock for several threads (Linux, schedstat).

    A computation on several threads ends with the slowest, so the longest wait counts.
    """

    def __init__(self, threads: Sequence[int], folder: Path) -> None:
        # Each file stays open: a read takes 1 us.
        self._files = [
            os.open(folder / str(thread) / "schedstat", os.O_RDONLY) for thread in threads
        ]
        self._start_ns: list[int | None] = []

    def start(self) -> None:
        self._start_ns = self._read()

    def waited_ns(self, sample_ns: int) -> int | None:
        # The calling thread has run, so it is among these unless the kernel does not count.
        waits = [
            now - then
            for now, then in zip(self._read(), self._start_ns, strict=True)
            if now is not None and then is not None
        ]
        return min(sample_ns, max(waits)) if waits else None

    def _read(self) -> list[int | None]:
        return [parse_waited_ns(os.pread(file, 64, 0)) for file in self._files]


class _NoClock:
    """The WaitClock of systems that do not report how long several threads waited."""

    def start(self) -> None:
        return

    def waited_ns(self, sample_ns: int) -> None:
        return


def own_threads() -> list[int]:
    """Return the ids of this process's threads, the calling one first; empty without /proc."""
    calling = threading.get_native_id()
    try:
        others = {int(task.name) for task in _THREADS.iterdir()} - {calling}
    except OSError:
        return []
    return [calling, *sorted(others)]  # its id is not the lowest once ids start again from 1


@contextlib.contextmanager
def taking_precedence(threads: Sequence[int]) -> Iterator[None]:
    """Let other processes wait for these threads, if the system permits it, until the context ends.

    Sharing a core costs more than waiting for it: meanwhile, caches fill with the data of others,
    and a pass over a model of medium size takes up to a quarter longer. The kernel still keeps a
    part of each second for other processes.

    Afterwards, each thread is scheduled as it was before. A thread that already has a real-time
    policy keeps it throughout.

    Args:
        threads: The ids of threads of this process.
    """
    changed: list[tuple[int, int]] = []
    try:
        with contextlib.suppress(AttributeError, OSError):  # another system, or no permission
            ordinary = (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE)
            for thread in threads:
                policy = os.sched_getscheduler(thread)
                flag = policy & os.SCHED_RESET_ON_FORK
                if policy - flag in ordinary:
                    os.sched_setscheduler(thread, os.SCHED_FIFO | flag, os.sched_param(1))
                    changed.append((thread, policy))
        yield
    finally:
        for thread, policy in changed:  # the priority of an ordinary policy is always 0
            os.sched_setscheduler(thread, policy, os.sched_param(0))
