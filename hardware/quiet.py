"""Keep this machine quiet during a measurement: other measurements and training runs wait.

All processes lock the same two files with flock. The kernel releases these locks when a process
ends, however it ends:

    measuring   held exclusively by the process that measures; training checks it at every step
    training    shared by all training runs; held exclusively by the process that measures

A measurement takes `measuring`, which training runs notice, and then waits for `training`. A
training run takes `training` only while it shares `measuring`, so that none can start in between.

A process that is stopped keeps its locks, and any user can take them. Everything here therefore
waits for a limited time (`machine_lock`). A measurement then begins regardless or ends with an
error, as configured, and training continues.

Other programs do not know these locks. A measurement waits for them, too, but for a limited time.
"""

import contextlib
import fcntl
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from hardware.machine_lock import (
    DEFAULT_LOCK_WAIT,
    LONGEST_PAUSE_S,
    LONGEST_WAIT_S,
    LockWait,
    MachineLock,
    named_holders,
)
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
# How often training that waited in vain looks whether it can take part in the locks again.
_LOOK_SECONDS = 1.0
# Between two measurements of a process, every process that waits tries to take the lock.
_TURN_S = 2 * LONGEST_PAUSE_S

# When this process last ended a measurement, by the folder of the lock files, on a monotonic clock.
_ended_at: dict[Path, float] = {}


class MachineOccupied(ValueError):
    """Another process did not release the machine in time, and the measurement should then stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """How a measurement came to begin.

    Attributes:
        waited_s: Seconds that it waited.
        obstacle: The process that did not release the machine in time, and may disturb the
            measurement, as a clause; None if the machine is reserved.
        cooled_s: The part of `waited_s` in which a device cooled down.
    """

    waited_s: float
    obstacle: str | None = None
    cooled_s: float = 0.0

    @property
    def remark(self) -> str | None:
        """A warning for the user; None if the machine is reserved."""
        if self.obstacle is None:
            return None
        return f"{self.obstacle}; the times that were measured meanwhile are provisional"


class Reserve(Protocol):
    """Reserves a device for one measurement, as `measuring` does with this machine."""

    def __call__(
        self, say: Say, *, patience_s: float, lock_wait: LockWait
    ) -> AbstractContextManager[Reservation]:
        """Hold off all other measurements and training until the context ends."""
        ...


@contextlib.contextmanager
def measuring(
    say: Say,
    *,
    patience_s: float = 60.0,
    lock_wait: LockWait = DEFAULT_LOCK_WAIT,
    folder: Path | None = None,
) -> Iterator[Reservation]:
    """Hold off all other measurements and training runs on this machine until the context ends.

    Before the context begins, this waits until other programs leave a core alone, but not longer
    than `patience_s`. This process and its descendants must be idle meanwhile. A process that
    measures several times in a row lets those that wait have their turn in between.

    A thread that already trains or measures must not call this: it would wait for itself.

    Args:
        say: Receives a line about what the measurement waits for: every two seconds while it waits
            for another process, and a few times per second while it waits for other programs.
        patience_s: Seconds to wait for other programs before the measurement starts regardless.
        lock_wait: How long to wait for other measurements and for training, and what to do then.
            A process that kept the machine for that long is not waited for again.
        folder: The folder of the lock files; None is the machine's.

    Yields:
        The seconds waited, and what did not release the machine.

    Raises:
        MachineOccupied: Another process did not release the machine, and `lock_wait` demands to
            stop.
        ValueError: A lock file cannot be opened.
    """
    folder = folder or _machine_folder()
    _let_others_begin(folder)
    start = time.monotonic()
    with MachineLock(folder / _MEASURING) as measurers, MachineLock(folder / _TRAINING) as trainers:
        obstacle = _reserve(measurers, trainers, lock_wait.longest_wait, say)
        if obstacle is not None and lock_wait.if_occupied == "stop":
            raise MachineOccupied(
                f"longest_wait: {obstacle}; resume or end it, or set if_occupied to 'measure' to "
                "measure regardless"
            )
        if obstacle is not None:
            say(f"{obstacle}; measuring regardless, with provisional times")
        _wait_for_quiet(say, patience_s)
        try:
            yield Reservation(waited_s=time.monotonic() - start, obstacle=obstacle)
        finally:
            _ended_at[folder] = time.monotonic()


class MeasurementSeries:
    """Several measurements, which together wait for other programs for a limited time.

    Args:
        patience_s: Seconds that all of them together wait for other programs.
        lock_wait: See `measuring`.
        reserve: Reserves the device; None reserves this machine.
    """

    def __init__(
        self,
        patience_s: float,
        lock_wait: LockWait = DEFAULT_LOCK_WAIT,
        reserve: Reserve | None = None,
    ) -> None:
        self._patience_s = patience_s
        self._lock_wait = lock_wait
        self._reserve = reserve or measuring

    @contextlib.contextmanager
    def measuring(self, say: Say) -> Iterator[Reservation]:
        """Reserve the device for one of the measurements; see the function `measuring`."""
        reserved = self._reserve(say, patience_s=self._patience_s, lock_wait=self._lock_wait)
        with reserved as reservation:
            self._patience_s = max(0.0, self._patience_s - reservation.waited_s)
            yield reservation


@contextlib.contextmanager
def yielding_to_measurements(
    say: Say, *, longest_wait: float = LONGEST_WAIT_S, folder: Path | None = None
) -> Iterator[YieldToMeasurements]:
    """Let training pause whenever something is measured on this machine.

    Args:
        say: Receives a line about each pause, again every two seconds.
        longest_wait: The longest pause for one process, in seconds. Training then continues until
            that process has released the machine.
        folder: The folder of the lock files; None is the machine's.

    Yields:
        A function to call between any two training steps. It takes microseconds, unless a
        measurement is running: then it returns when that has ended. It returns the seconds paused.
        Entering the context also waits for a running measurement.

    Raises:
        ValueError: A lock file cannot be opened.
    """
    folder = folder or _machine_folder()
    with MachineLock(folder / _MEASURING) as measurers, MachineLock(folder / _TRAINING) as trainers:
        training = _Training(measurers, trainers, longest_wait, say)
        training.pause()
        yield training.yield_to_measurements


class _Training:
    """A training run that shares the lock of trainings, except while it pauses."""

    def __init__(
        self, measurers: MachineLock, trainers: MachineLock, longest_wait: float, say: Say
    ) -> None:
        self._measurers = measurers
        self._trainers = trainers
        self._longest_wait = longest_wait
        self._say = say
        # The lock that was not released in time; the training then continues without the locks.
        self._occupied: MachineLock | None = None
        self._looked_at = 0.0

    def yield_to_measurements(self) -> float:
        """Pause if something is measured; see `yielding_to_measurements`."""
        start = time.monotonic()
        if self._occupied is not None:
            if start - self._looked_at < _LOOK_SECONDS:
                return 0.0
        elif self._measurers.is_taken():
            self._trainers.release()
        else:
            return 0.0
        self.pause()
        return self._looked_at - start

    def pause(self) -> None:
        """Wait until nothing is measured, or the longest wait is over; then share the lock."""
        before, self._occupied = self._occupied, self._share_lock()
        self._looked_at = time.monotonic()
        if self._occupied is not None and before is None:
            holders = named_holders(self._occupied.holders())
            self._say(
                "a measurement on this machine has not ended within "
                f"{self._longest_wait:g} s{holders}; training continues"
            )

    def _share_lock(self) -> MachineLock | None:
        """Share the lock of trainings; return the lock that was not released in time."""
        try:
            for lock in (self._measurers, self._trainers):
                if not lock.take(fcntl.LOCK_SH, self._longest_wait, self._say_paused):
                    return lock
            return None
        finally:
            self._measurers.release()

    def _say_paused(self, holders: str, left_s: float) -> None:
        self._say(f"paused during a measurement on this machine{holders}{_at_most(left_s)}")


def _let_others_begin(folder: Path) -> None:
    """Wait if this process has only just released the machine, so that others can reserve it."""
    left_s = _ended_at.get(folder, -math.inf) + _TURN_S - time.monotonic()
    if left_s > 0:
        time.sleep(left_s)


def _reserve(
    measurers: MachineLock, trainers: MachineLock, longest_wait: float, say: Say
) -> str | None:
    """Take both locks exclusively; return what did not release one of them in time."""
    locks = (
        (measurers, "another measurement on this machine", "", "ended"),
        (trainers, "training on this machine", " to pause", "paused"),
    )
    for lock, activity, awaited, done in locks:

        def say_waiting(holders: str, left_s: float, what: str = activity + awaited) -> None:
            say(f"waiting for {what}{holders}{_at_most(left_s)}")

        if not lock.take(fcntl.LOCK_EX, longest_wait, say_waiting):
            holders = named_holders(lock.holders())
            return f"{activity} has not {done} within {longest_wait:g} s{holders}"
    return None


def _at_most(left_s: float) -> str:
    return f", for up to {math.ceil(left_s)} s"


def _machine_folder() -> Path:
    writable = (folder for folder in _FOLDERS if os.access(folder, os.W_OK))
    return next(writable, _FOLDERS[-1])


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
