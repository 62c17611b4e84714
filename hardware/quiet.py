"""Keeps this machine quiet while something is measured: other measurements and trainings wait.

Everyone locks the same two files with flock, whose locks end with whoever held them, however that
was:

    measuring   held alone by the one who measures; who trains looks at it at every step
    training    shared by all who train, held alone by the one who measures

Who measures takes `measuring`, which those who train then see, and waits for `training`. Who trains
takes `training` only while sharing `measuring`, so that nobody begins in between.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from hardware.environment import read_counters
from hardware.progress import Say

YieldToMeasurements: TypeAlias = Callable[[], float]

# The same for every user and every TMPDIR. Memory first: /tmp may be private to a service or a
# login and is swept of old files; macOS has it alone, and a container may lack either.
_FOLDERS = (Path("/dev/shm"), Path("/tmp"))  # noqa: S108 - what a stranger put there is opened safely
_MEASURING = "nas-measuring.lock"
_TRAINING = "nas-training.lock"

# The kernel counts hundredths of a second: 20 of them, of which 4 may be another's.
_LOOK_S = 0.2
_BUSY = 0.2


@contextlib.contextmanager
def measuring(
    report: Say, cores: Sequence[int] = (), *, patience_s: float = 60.0, folder: Path | None = None
) -> Iterator[float]:
    """Until the context ends nobody else measures or trains here; yields the seconds waited.

    report: hears what is waited for.
    cores: where the measurement will run; empty while that is open, when one free core is enough.
    patience_s: how long to wait for programs of others, before going on all the same.

    Not for a thread that trains or measures already: it would wait for itself. Raises ValueError
    where a lock cannot be opened.
    """
    start = time.monotonic()
    folder = folder or _machine_folder()
    with _Lock(folder / _MEASURING) as measurers, _Lock(folder / _TRAINING) as trainers:
        measurers.take(fcntl.LOCK_EX, lambda: report("waits for another measurement here"))
        trainers.take(fcntl.LOCK_EX, lambda: report("waits for a training here to pause"))
        _wait_for_quiet(report, cores, patience_s)
        yield time.monotonic() - start


@contextlib.contextmanager
def yielding_to_measurements(
    report: Say, *, folder: Path | None = None
) -> Iterator[YieldToMeasurements]:
    """For training: yields what is to be called between any two steps, and costs microseconds.

    While something is measured on this machine the call pauses; it returns the seconds that took.
    The context, too, begins in a pause then. report: hears of each. Raises ValueError where a lock
    cannot be opened.
    """
    folder = folder or _machine_folder()
    with _Lock(folder / _MEASURING) as measurers, _Lock(folder / _TRAINING) as trainers:

        def say() -> None:
            report("pauses while something is measured here")

        def begin() -> None:
            measurers.take(fcntl.LOCK_SH, say)
            trainers.take(fcntl.LOCK_SH, say)
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
    """A file of the machine that one can hold alone, or many together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = _open(path)

    def __enter__(self) -> "_Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()  # closing alone would leave it to a forked child that has the file open too
        os.close(self._descriptor)

    def take(self, how: int, before_waiting: Callable[[], None]) -> None:
        """how: LOCK_EX, alone, or LOCK_SH, together with others."""
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
        """By one alone; also true of a file that was removed, since another is now in its place."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        self.release()
        return self._is_removed()

    def release(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _is_removed(self) -> bool:
        """By a sweep of old files, or when its owner logs out."""
        return os.fstat(self._descriptor).st_nlink == 0


def _machine_folder() -> Path:
    writable = (folder for folder in _FOLDERS if os.access(folder, os.W_OK))
    return next(writable, _FOLDERS[-1])


def _open(path: Path) -> int:
    try:
        return _open_or_create(path)
    except OSError as error:
        raise ValueError(
            f"lock: '{path}' is not a file that can be read or created here ({error.strerror})"
        ) from None


def _open_or_create(path: Path) -> int:
    # To read is enough for a lock, and a user may read what another has created.
    reading = os.O_RDONLY | os.O_NOFOLLOW
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, reading)
    with contextlib.suppress(FileExistsError):  # somebody was faster
        descriptor = os.open(path, reading | os.O_CREAT | os.O_EXCL, 0o644)
        os.fchmod(descriptor, 0o644)  # whatever the umask
        return descriptor
    return os.open(path, reading)


def _wait_for_quiet(report: Say, cores: Sequence[int], patience_s: float) -> None:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        disturbance = _load_of_others(cores)
        if disturbance is None:
            return
        left_s = end - time.monotonic()
        outlook = f"waits for quiet, {left_s:.0f} s at most" if left_s > 0 else "measures even so"
        report(f"{disturbance}; {outlook}")


def _load_of_others(cores: Sequence[int]) -> str | None:
    """In words; None when it is low, or nobody knows. Nothing of ours may run meanwhile."""
    before = read_counters()
    time.sleep(_LOOK_S)
    after = read_counters()
    if before is None or after is None:
        return None
    seconds = (after.at_ns - before.at_ns) / 1e9
    used = {
        core: (after.busy_s[core] - before.busy_s[core]) / seconds
        for core in cores or os.sched_getaffinity(0)
    }
    core, share = (max if cores else min)(used.items(), key=lambda item: item[1])
    if share < _BUSY:
        return None
    where = f"{share:.1f} of core {core}" if cores else f"{share:.1f} or more of every core"
    return f"other programs use {where}"
