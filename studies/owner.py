"""Which process works on a trial, and whether it still lives."""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

# A process of another host cannot be asked whether it lives; evaluators report far more often.
_LONGEST_SILENCE = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process, told apart from a later one that was given the same number by its start."""

    host: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_process() -> Owner:
    pid = os.getpid()
    return Owner(host=platform.node(), pid=pid, started=_started(pid) or "unknown")


def is_lost(owner: Owner, seen_at: datetime) -> bool:
    """True for a process of this host that does not live, or one of another that fell silent."""
    if owner.host == platform.node():
        return _started(owner.pid) != owner.started
    return datetime.now(UTC) - seen_at > _LONGEST_SILENCE


def _started(pid: int) -> str | None:
    """When a process began, in words of its system; None where no such process runs."""
    if sys.platform == "linux":
        return _started_on_linux(pid)
    asked = subprocess.run(  # noqa: S603 - a fixed command and a number
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None


def _started_on_linux(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # proc(5): a command in brackets may hold spaces; the state follows it, the start is the 22nd.
    fields = text.rpartition(")")[2].split()
    state, ticks_since_boot = fields[0], fields[19]
    return None if state in "ZX" else ticks_since_boot
