"""The processes that work on trials, and which of them are still alive.

A process can be looked up directly only from the same PID namespace of the same running system. For
all others, on other hosts or in other containers, only silence counts: each process gives a sign of
life every few seconds. Clocks are not compared, because those of two machines may differ by hours.
"""

import functools
import os
import platform
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

# Seconds of silence after which a process that cannot be looked up is considered dead.
LEASE_S = 60.0
# Signs of life during that time, so that one or two may fail.
SIGNS_PER_LEASE = 3

Verdict: TypeAlias = Literal["alive", "lost", "unknown"]
"""What another process knows about a process: whether it is alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process. Two values are equal if they describe the same process.

    Attributes:
        token: Text that no other process has.
        host: The name of the host.
        pid: The process identifier, within `namespace`.
        started: The start time as the operating system reports it, which distinguishes the process
            from a later one with the same identifier.
        boot: What identifies the running system since it was booted; empty if unknown.
        namespace: The PID namespace; empty on systems without them, and if unknown.
        lease_s: Seconds of silence after which others consider it dead if they cannot look it up.
        beats: The number of signs of life that it had given when this was read.
        silent_s: The seconds since the last of them, by the clock of the database.
    """

    token: str
    host: str = field(compare=False)
    pid: int = field(compare=False)
    started: str = field(compare=False)
    boot: str = field(compare=False)
    namespace: str = field(compare=False)
    lease_s: float = field(default=LEASE_S, compare=False)
    beats: int = field(default=0, compare=False)
    silent_s: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_process() -> Owner:
    """Return the current process."""
    return _process(os.getpid())


@functools.cache  # a forked child has another identifier, and needs a token of its own
def _process(pid: int) -> Owner:
    return Owner(
        token=secrets.token_hex(8),
        host=platform.node(),
        pid=pid,
        started=_started(pid) or "unknown",
        boot=_boot(),
        namespace=_namespace(),
    )


def has_ended(owner: Owner) -> bool | None:
    """Look a process up; return None if it cannot be looked up from this process."""
    here = this_process()
    if not owner.boot or (owner.boot, owner.namespace) != (here.boot, here.namespace):
        return None
    return _started(owner.pid) != owner.started


def seems_lost(owner: Owner) -> bool:
    """Return whether a process has ended or has been silent for too long, from a single reading.

    This is for display. Before a process takes over a trial, it observes the owner for a while; see
    `SignsOfLife`.
    """
    ended = has_ended(owner)
    return owner.silent_s > owner.lease_s if ended is None else ended


@dataclass(frozen=True, slots=True, kw_only=True)
class _Observation:
    """What was observed of a process that cannot be looked up.

    Attributes:
        beats: The number of signs of life that it had given when it was last read.
        since_s: When this number was first seen, by the clock of the observer.
        has_changed: Whether an earlier number was seen before.
    """

    beats: int
    since_s: float
    has_changed: bool


class SignsOfLife:
    """The signs of life of other processes, as this process has observed them.

    Args:
        clock: Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._observed: dict[str, _Observation] = {}  # by the token of the process

    def judge(self, owner: Owner) -> Verdict:
        """Return whether a process is alive.

        One that cannot be looked up is alive if it has given a sign of life since this process
        observed it for the first time, and lost after `lease_s` seconds without one.

        Args:
            owner: The process, as it was just read.
        """
        ended = has_ended(owner)
        if ended is not None:
            return "lost" if ended else "alive"
        now = self._clock()
        latest = self._observed.get(owner.token)
        if latest is None or latest.beats != owner.beats:
            latest = _Observation(beats=owner.beats, since_s=now, has_changed=latest is not None)
            self._observed[owner.token] = latest
        if now - latest.since_s > owner.lease_s:
            return "lost"
        return "alive" if latest.has_changed else "unknown"

    def is_lost(self, owner: Owner) -> bool:
        """Return whether a process is known to be dead, or has been silent for too long."""
        return self.judge(owner) == "lost"

    def forget(self) -> None:
        """Forget what was observed, because no process could give a sign of life for a while."""
        self._observed.clear()


def _boot() -> str:
    """Return what identifies this system since it was booted; empty if unknown."""
    if sys.platform == "linux":
        return _text_of(Path("/proc/sys/kernel/random/boot_id"))
    command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return ""
    return done.stdout.strip()


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _text_of(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


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
