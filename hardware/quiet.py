"""Keep this machine quiet during a measurement: other measurements and training runs wait.

All processes lock the same two files with flock. The kernel releases these locks when a process
ends, however it ends:

    measuring   held exclusively by the process that measures; training checks it at every step
    training    shared by all training runs; held exclusively by the process that measures

A measurement takes `measuring`, which training runs notice, and then waits for `training`. A
training run takes `training` only while it shares `measuring`, so that none can start in between.

Other programs do not know these locks. A measurement waits for them, too, but for a limited time.
"""

import contextlib
import fcntl
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from hardware.processes import LockMode, command_of, lock_holders
from hardware.processor_load import load_of_others
from hardware.progress import Say

YieldToMeasurements: TypeAlias = Callable[[], float]
"""Waits while something is measured on this machine; returns the seconds that this took."""

# The same folder for every user and every TMPDIR. /dev/shm comes first, because /tmp may be private
# to a service or a login, and old files are removed from it. macOS has only /tmp, and a container
# may lack either.
_FOLDERS = (Path("/dev/shm"), Path("/tmp"))  # noqa: S108 - files of other users are opened safely
_MEASURING = "nas-measuring.lock"
_TRAINING = "nas-training.lock"
_MOST_HOLDERS = 3


@contextlib.contextmanager
def measuring(say: Say, *, patience_s: float = 60.0, folder: Path | None = None) -> Iterator[float]:
    """Hold off all other measurements and training runs on this machine until the context ends.

    Before the context begins, this waits until other programs leave a core alone, but not longer
    than `patience_s`. This process and its descendants must be idle meanwhile.

    A thread that already trains or measures must not call this: it would wait for itself.

    Args:
        say: Receives a line about what the measurement waits for: once when it starts to wait for
            another process, and a few times per second while it waits for other programs.
        patience_s: Seconds to wait for other programs before the measurement starts regardless.
        folder: The folder of the lock files; None is the machine's.

    Yields:
        The seconds waited.

    Raises:
        ValueError: A lock file cannot be opened.
    """
    start = time.monotonic()
    folder = folder or _machine_folder()
    with _Lock(folder / _MEASURING) as measurers, _Lock(folder / _TRAINING) as trainers:
        measurers.take(
            fcntl.LOCK_EX,
            lambda: say(f"waiting for another measurement on this machine{measurers.owner()}"),
        )
        trainers.take(
            fcntl.LOCK_EX,
            lambda: say(f"waiting for training on this machine to pause{trainers.sharers()}"),
        )
        _wait_for_quiet(say, patience_s)
        yield time.monotonic() - start


@contextlib.contextmanager
def yielding_to_measurements(
    say: Say, *, folder: Path | None = None
) -> Iterator[YieldToMeasurements]:
    """Let training pause whenever something is measured on this machine.

    Args:
        say: Receives a line about each pause.
        folder: The folder of the lock files; None is the machine's.

    Yields:
        A function to call between any two training steps. It takes microseconds, unless a
        measurement is running: then it returns when that has ended. It returns the seconds paused.
        Entering the context also waits for a running measurement.

    Raises:
        ValueError: A lock file cannot be opened.
    """
    folder = folder or _machine_folder()
    with _Lock(folder / _MEASURING) as measurers, _Lock(folder / _TRAINING) as trainers:

        def say_paused() -> None:
            say(f"paused during a measurement on this machine{measurers.owner()}")

        def begin() -> None:
            measurers.take(fcntl.LOCK_SH, say_paused)
            trainers.take(fcntl.LOCK_SH, say_paused)
            measurers.release()

        def yield_to_measurements() -> float:
            if not measurers.is_taken():
                return 0.0
            start = time.perf_counter()
            trainers.release()
            begin()
            return time.perf_counter() - start

        begin()
        yield yield_to_measurements


class _Lock:
    """A lock file that one process can hold exclusively, or several can share."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = _open(path)

    def __enter__(self) -> "_Lock":
        return self

    def __exit__(self, *_: object) -> None:
        # If the file was only closed, a forked child that has it open would keep the lock.
        self.release()
        os.close(self._descriptor)

    def take(self, how: int, before_waiting: Callable[[], None]) -> None:
        """Take the lock: exclusively with LOCK_EX, shared with LOCK_SH."""
        while True:
            try:
                fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
            except BlockingIOError:
                before_waiting()
                fcntl.flock(self._descriptor, how)
            if not self._is_removed():
                return
            newer = _open(self._path)
            os.close(self._descriptor)
            self._descriptor = newer

    def is_taken(self) -> bool:
        """Return whether another process holds the lock exclusively, or has replaced its file."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        self.release()
        return self._is_removed()

    def release(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def owner(self) -> str:
        """Return which process holds the lock exclusively, as " (`nas profile`, pid 4711)".

        The text is empty if no process does or it is unknown.
        """
        return self._holders("WRITE")

    def sharers(self) -> str:
        """Return which processes share the lock, in the form of `owner`; at most three."""
        return self._holders("READ")

    def _holders(self, mode: LockMode) -> str:
        pids = lock_holders(self._descriptor, mode)[:_MOST_HOLDERS]
        commands = {pid: command_of(pid) for pid in pids}
        names = [f"`{name}`, pid {pid}" if name else f"pid {pid}" for pid, name in commands.items()]
        return f" ({'; '.join(names)})" if names else ""

    def _is_removed(self) -> bool:
        """Return whether the file was deleted, as by a cleanup or when its owner logged out."""
        return os.fstat(self._descriptor).st_nlink == 0


def _machine_folder() -> Path:
    writable = (folder for folder in _FOLDERS if os.access(folder, os.W_OK))
    return next(writable, _FOLDERS[-1])


def _open(path: Path) -> int:
    try:
        return _open_or_create(path)
    except OSError as error:
        raise ValueError(
            f"lock: '{path}' is not a file that this user can read or create ({error.strerror})"
        ) from None


def _open_or_create(path: Path) -> int:
    # Read access is enough for a lock, and users may read files that another user created.
    reading = os.O_RDONLY | os.O_NOFOLLOW
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, reading)
    with contextlib.suppress(FileExistsError):  # another process was faster
        descriptor = os.open(path, reading | os.O_CREAT | os.O_EXCL, 0o644)
        os.fchmod(descriptor, 0o644)  # independent of the umask
        return descriptor
    return os.open(path, reading)


def _wait_for_quiet(say: Say, patience_s: float) -> None:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        load = load_of_others()
        if load is None:
            return
        left_s = end - time.monotonic()
        if left_s > 0:
            say(f"{load}; waiting for up to {math.ceil(left_s)} s for a quiet machine")
        else:
            say(f"{load}; measuring anyway, and counting only the time that the model itself ran")
