"""The process that works on a trial, and whether it is still alive."""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

# A process on another host cannot be checked directly. Evaluators report far more often than this.
_LONGEST_SILENCE = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process.

    Attributes:
        host: The name of the host.
        pid: The process identifier.
        started: The start time as the operating system reports it, which distinguishes the process
            from a later one with the same identifier.
    """

    host: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_process() -> Owner:
    """Return the current process."""
    pid = os.getpid()
    return Owner(host=platform.node(), pid=pid, started=_started(pid) or "unknown")


def is_lost(owner: Owner, seen_at: datetime) -> bool:
    """Return whether a process is considered dead.

    On this host that is checked directly. A process on another host is considered dead if it has
    not reported for an hour.

    Args:
        owner: The process.
        seen_at: The time at which it last reported that it is alive.
    """
    if owner.host == platform.node():
        return _started(owner.pid) != owner.started
    return datetime.now(UTC) - seen_at > _LONGEST_SILENCE


def _started(pid: int) -> str | None:
    """Return the start time in the format of the system; None if no such process is running."""
    if sys.platform == "linux":
        return _started_on_linux(pid)
    done = subprocess.run(  # noqa: S603 - a fixed command and a number
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None


def _started_on_linux(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # proc(5): the command in parentheses may contain spaces. The state follows it, and the start
    # time is the 22nd field.
    fields = text.rpartition(")")[2].split()
    state, ticks_since_boot = fields[0], fields[19]
    return None if state in "ZX" else ticks_since_boot
