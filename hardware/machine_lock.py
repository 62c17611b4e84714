"""Locks that all processes of this machine share, who holds them, and how long to wait for them.

A lock is a file that processes lock with flock. Any user may create the file, and any process may
hold the lock for ever: one that is stopped, for example. Nothing here waits without a limit.
"""

import contextlib
import fcntl
import math
import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from hardware.processes import LockHolder, describe_holder, lock_holders, user_name

IfOccupied: TypeAlias = Literal["measure", "stop"]
"""What to do if another process does not release the machine: measure regardless, or stop."""

IF_OCCUPIED: tuple[IfOccupied, ...] = get_args(IfOccupied)

# In addition to the timing itself: loading a large model takes minutes.
LONGEST_WAIT_S = 600.0

# Seconds between two attempts: at first a tenth of the time waited, so that short waits end soon.
LONGEST_PAUSE_S = 0.1
_PAUSE_SHARE = 0.1
_MOST_NAMED = 3  # holders in a message
_REPORT_SECONDS = 2.0
# A process that takes turns with others is waited for again, but not more often than this.
_MOST_TURNS = 10

# The pid and the start of each process.
_Identities: TypeAlias = frozenset[tuple[int, int | None]]

# The processes that this one has waited for in vain, by the device and inode of the lock's file. As
# long as one of them keeps the lock, nothing in this process waits for it again.
_given_up: dict[tuple[int, int], _Identities] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class LockWait:
    """How long a measurement waits for other measurements and for training, and what it does then.

    Attributes:
        longest_wait: Seconds to wait for the same process; at least 0.
        if_occupied: What to do if it has not released the machine by then.
    """

    longest_wait: float = LONGEST_WAIT_S
    if_occupied: IfOccupied = "measure"

    def __post_init__(self) -> None:
        if not 0 <= self.longest_wait < math.inf:
            raise ValueError(f"longest_wait: {self.longest_wait} is not a number of at least 0")


def make_lock_wait(seconds: float, longest_wait: float | None, if_occupied: str) -> LockWait:
    """Return the `LockWait` of a measurement, from the options or the study file of a user.

    Args:
        seconds: Time limit of one timing, in seconds. Another measurement may take twice as long:
            once to wait for a quiet machine, and once to time a model.
        longest_wait: Seconds to wait for the same process; None stands for ten minutes plus twice
            `seconds`.
        if_occupied: What to do if it has not released the machine by then.

    Raises:
        ValueError: A value is not allowed.
    """
    action = next((each for each in IF_OCCUPIED if each == if_occupied), None)
    if action is None:
        raise ValueError(f"if_occupied: '{if_occupied}' is not 'measure' or 'stop'")
    wait = LONGEST_WAIT_S + 2 * seconds if longest_wait is None else longest_wait
    return LockWait(longest_wait=wait, if_occupied=action)


DEFAULT_LOCK_WAIT = LockWait()


class MachineLock:
    """A lock file that one process can hold exclusively, or several can share.

    Args:
        path: The file, which is created if there is none.

    Raises:
        ValueError: The file cannot be opened or created, or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = _open(path)

    def __enter__(self) -> "MachineLock":
        return self

    def __exit__(self, *_: object) -> None:
        # If the file was only closed, a forked child that has it open would keep the lock.
        self.release()
        os.close(self._descriptor)

    def take(self, how: int, longest_wait: float, report: Callable[[str, float], None]) -> bool:
        """Take the lock, or return False if another process keeps it for too long.

        Args:
            how: LOCK_EX takes it exclusively, LOCK_SH shares it.
            longest_wait: Seconds to wait for the same process. If the lock passes to another one,
                the time begins again, but not for ever.
            report: Receives every two seconds who holds the lock, as `named_holders` returns it,
                and the seconds left.
        """
        start = since = time.monotonic()
        reported_at = -math.inf
        holders: _Identities = frozenset()
        while not self._try(how):
            now = time.monotonic()
            is_report_due = now - reported_at >= _REPORT_SECONDS
            if is_report_due:
                reported_at = now
                found = self.holders()
                before, holders = holders, _identities(found)
                if self._is_given_up(holders):
                    return False
                if _are_others(holders, before):
                    since = now
            left_s = min(since, start + (_MOST_TURNS - 1) * longest_wait) + longest_wait - now
            if left_s <= 0:
                _given_up[self._file()] = holders
                return False
            if is_report_due:
                report(named_holders(found), left_s)
            time.sleep(min(LONGEST_PAUSE_S, _PAUSE_SHARE * (now - start) + 0.001, left_s))
        _given_up.pop(self._file(), None)
        return True

    def is_taken(self) -> bool:
        """Return whether another process holds the lock exclusively, or has replaced its file."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        self.release()
        return self._is_removed()

    def release(self) -> None:
        """Release the lock, if this process holds it."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def holders(self) -> tuple[LockHolder, ...]:
        """Return which processes hold the lock; none if the system does not report them."""
        pids = lock_holders(self._descriptor, "WRITE") or lock_holders(self._descriptor, "READ")
        return tuple(map(describe_holder, pids))

    def _try(self, how: int) -> bool:
        while True:
            try:
                fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
            except BlockingIOError:
                if not self._is_removed():
                    return False
            else:
                if not self._is_removed():
                    return True
            newer = _open(self._path)
            os.close(self._descriptor)
            self._descriptor = newer

    def _is_removed(self) -> bool:
        """Return whether the file was deleted, as by a cleanup or when its owner logged out."""
        return os.fstat(self._descriptor).st_nlink == 0

    def _is_given_up(self, holders: _Identities) -> bool:
        vain = _given_up.get(self._file())
        return vain is not None and not _are_others(holders, vain)

    def _file(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino


def named_holders(holders: Sequence[LockHolder]) -> str:
    """Return processes as " (`nas profile`, pid 4711, user ann)"; at most three are named.

    The text is empty if there are none, as on a system that does not report who holds a lock.
    """
    return f" ({'; '.join(map(str, holders[:_MOST_NAMED]))})" if holders else ""


def _identities(holders: Sequence[LockHolder]) -> _Identities:
    return frozenset((each.pid, each.started_ticks) for each in holders)


def _are_others(now: _Identities, before: _Identities) -> bool:
    """Return whether processes hold the lock that are known not to have held it before."""
    return bool(now) and bool(before) and not now & before


def _open(path: Path) -> int:
    try:
        descriptor = _open_or_create(path)
    except OSError as error:
        raise ValueError(
            f"lock: '{path}' is not a file that this user can read or create ({error.strerror}"
            f"{_owner(path)})"
        ) from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise ValueError(f"lock: '{path}' is not a regular file{_owner(path)}; remove it")


def _owner(path: Path) -> str:
    try:
        return f"; it belongs to user {user_name(path.lstat().st_uid)}"
    except OSError:
        return ""


def _open_or_create(path: Path) -> int:
    # Read access is enough for a lock, and users may read files that another user created. Without
    # O_NONBLOCK, opening a FIFO would wait for a writer.
    reading = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, reading)
    with contextlib.suppress(FileExistsError):  # another process was faster
        descriptor = os.open(path, reading | os.O_CREAT | os.O_EXCL, 0o644)
        os.fchmod(descriptor, 0o644)  # independent of the umask
        return descriptor
    return os.open(path, reading)
