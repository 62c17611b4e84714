"""Other processes of this machine: which one uses the processor, and which ones hold a lock.

Linux describes its processes in files below /proc (see proc(5)). On other systems, and about
processes that this user may not read, these functions return nothing. Other users choose the names
of their processes, so at most 40 characters of a name are returned, all of them printable.
"""

import os
import pwd
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

PROC = Path("/proc")

LockMode: TypeAlias = Literal["READ", "WRITE"]
"""How a process holds a lock: shared or exclusively, in the words of /proc/locks."""

_LONGEST_NAME = 40
# A line of /proc/PID/stat has about 300 bytes: 52 numbers and a name of at most 64 characters.
_STAT_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTime:
    """What one process has used of the processor.

    Attributes:
        parent: The pid of its parent.
        used_ticks: Processor time of all its threads since it started, in clock ticks.
        threads: The number of its threads.
        started_ticks: When it started, in clock ticks since the machine started.
        core: The core that its main thread ran on last.
    """

    parent: int
    used_ticks: int
    threads: int
    started_ticks: int
    core: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTimes:
    """What every process has used of the processor, by pid.

    Attributes:
        at_ns: When this was read, on a monotonic clock.
        by_pid: The processes that could be read.
    """

    at_ns: int
    by_pid: Mapping[int, ProcessTime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A process that uses the processor; as text, "`pytest` (pid 4711)".

    Attributes:
        pid: Its process id.
        name: Its name; empty if it cannot be read.
        cores: The number of cores that it keeps busy; 0.5 is half of one core.
    """

    pid: int
    name: str
    cores: float

    def __str__(self) -> str:
        name = f"`{self.name}`" if self.name else "a program"
        return f"{name} (pid {self.pid})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockHolder:
    """A process that holds a lock; as text, "`nas profile`, pid 4711, user ann, stopped".

    Attributes:
        pid: Its process id.
        command: Its program and first argument; empty if unknown.
        user: The name of its user, or the number of a user without a name; empty if unknown.
        started_ticks: When it started, in clock ticks since the machine started; None if unknown.
        is_stopped: Whether it is stopped, as by Ctrl-Z or a debugger, so that it does nothing.
    """

    pid: int
    command: str
    user: str
    started_ticks: int | None
    is_stopped: bool

    def __str__(self) -> str:
        parts = [f"`{self.command}`"] if self.command else []
        parts.append(f"pid {self.pid}")
        if self.user:
            parts.append(f"user {self.user}")
        if self.is_stopped:
            parts.append("stopped")
        return ", ".join(parts)


def read_process_times(proc: Path = PROC) -> ProcessTimes:
    """Read what every process has used of the processor; about 10 us per process.

    Args:
        proc: The folder that describes the processes.
    """
    at_ns = time.monotonic_ns()
    return ProcessTimes(at_ns=at_ns, by_pid=dict(_process_times(proc)))


def largest_consumer(
    before: ProcessTimes,
    after: ProcessTimes,
    cores: Collection[int],
    *,
    apart_from: int,
    proc: Path = PROC,
) -> Consumer | None:
    """Return the process that used most of the processor between two readings.

    A process that ended between the readings is not considered.

    Args:
        before: The first reading.
        after: The second reading.
        cores: The cores in question. A process is left out if it has only one thread, which ran on
            another core at both readings.
        apart_from: The pid of a process that is left out together with its descendants.
        proc: The folder that describes the processes.

    Returns:
        The process, or None if no process in question used the processor.
    """
    seconds = (after.at_ns - before.at_ns) / 1e9
    newest_ticks = max((each.started_ticks for each in before.by_pid.values()), default=None)
    used_ticks: dict[int, int] = {}
    for pid, now in after.by_pid.items():
        earlier = before.by_pid.get(pid)
        if earlier is not None and earlier.started_ticks != now.started_ticks:
            earlier = None  # That process has ended, and this one now has its pid.
        if earlier is None and (newest_ticks is None or now.started_ticks < newest_ticks):
            continue  # It was already there, but could not be read.
        used = now.used_ticks - (earlier.used_ticks if earlier else 0)
        ran_on = {now.core, earlier.core if earlier else now.core}
        if used > 0 and (now.threads > 1 or not ran_on.isdisjoint(cores)):
            used_ticks[pid] = used
    for pid in sorted(used_ticks, key=lambda pid: used_ticks[pid], reverse=True):
        if not _descends_from(apart_from, pid, after.by_pid):
            used_s = used_ticks[pid] / os.sysconf("SC_CLK_TCK")
            return Consumer(
                pid=pid,
                name=_printable(_content(proc / str(pid) / "comm")),
                # A reading takes time, and the kernel counts in steps.
                cores=min(used_s / seconds, after.by_pid[pid].threads),
            )
    return None


def lock_holders(descriptor: int, mode: LockMode, proc: Path = PROC) -> list[int]:
    """Return the pids of the processes that hold an flock on an open file.

    Args:
        descriptor: The descriptor of the file.
        mode: Which holders are returned: those that share the lock, or the only one.
        proc: The folder that describes the processes.
    """
    status = os.fstat(descriptor)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    pids = []
    for line in _content(proc / "locks").decode(errors="replace").splitlines():
        # "7: FLOCK ADVISORY WRITE 4711 00:1a:42 0 EOF"; a process that waits has "7: -> FLOCK".
        fields = line.split()
        if len(fields) < 6 or (fields[1], fields[3]) != ("FLOCK", mode):
            continue
        pid, file = fields[4:6]
        # The kernel writes 0 for a process outside this container.
        if file == f"{device}:{status.st_ino}" and pid.isdecimal() and int(pid) > 0:
            pids.append(int(pid))
    return pids


def describe_holder(pid: int, proc: Path = PROC) -> LockHolder:
    """Return what this user may read about a process that holds a lock.

    Args:
        pid: The process id.
        proc: The folder that describes the processes.
    """
    lines = _content(proc / str(pid) / "status").decode(errors="replace").splitlines()
    # Lines such as "State:\tT (stopped)" and "Uid:\t1000\t1000\t1000\t1000".
    fields = {words[0]: words[1] for line in lines if len(words := line.split()) > 1}
    try:
        started_ticks = _process_time(_stat_line(f"{proc}/{pid}/stat")).started_ticks
    except (OSError, ValueError, IndexError):
        started_ticks = None
    return LockHolder(
        pid=pid,
        command=command_of(pid, proc),
        user=user_name(int(number)) if (number := fields.get("Uid:", "")).isdecimal() else "",
        started_ticks=started_ticks,
        is_stopped=fields.get("State:") in ("T", "t"),
    )


def user_name(number: int) -> str:
    """Return the name of a user, or the number of a user without a name."""
    try:
        return _printable(os.fsencode(pwd.getpwuid(number).pw_name))
    except (KeyError, OverflowError):
        return str(number)


def command_of(pid: int, proc: Path = PROC) -> str:
    """Return the name of a program and its first argument, such as "nas profile".

    The name is that of the script or module if Python runs one. The result is the name of the
    process if its command cannot be read, and empty if neither can.
    """
    words = _content(proc / str(pid) / "cmdline").rstrip(b"\0").split(b"\0")
    if Path(os.fsdecode(words[0])).name.startswith("python"):
        if words[1:2] == [b"-P"]:  # as this program starts its own
            del words[1]
        if words[1:2] == [b"-m"]:
            words = words[2:]
        elif len(words) > 1 and not words[1].startswith(b"-"):
            words = words[1:]
    program, *arguments = words or [b""]
    command = _printable(b" ".join([program.rpartition(b"/")[2], *arguments[:1]]))
    return command or _printable(_content(proc / str(pid) / "comm"))


def _process_times(proc: Path) -> Iterator[tuple[int, ProcessTime]]:
    for pid in _pids(proc):
        try:
            yield pid, _process_time(_stat_line(f"{proc}/{pid}/stat"))
        except (OSError, ValueError, IndexError):
            continue  # It has ended, or this user may not read it.


def _pids(proc: Path) -> list[int]:
    try:
        return [int(path.name) for path in proc.iterdir() if path.name.isdecimal()]
    except OSError:
        return []


def _stat_line(path: str) -> bytes:
    # Path.read_bytes takes three times as long, and there can be thousands of processes.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, _STAT_BYTES)
    finally:
        os.close(descriptor)


def _process_time(line: bytes) -> ProcessTime:
    # The name, the second field, is in parentheses and may contain any character. The fields after
    # it count from the third, the state of the process.
    fields = line.rpartition(b")")[2].split()
    return ProcessTime(
        parent=int(fields[4 - 3]),
        used_ticks=int(fields[14 - 3]) + int(fields[15 - 3]),  # in user mode and in the kernel
        threads=int(fields[20 - 3]),
        started_ticks=int(fields[22 - 3]),
        core=int(fields[39 - 3]),
    )


def _descends_from(ancestor: int, pid: int, by_pid: Mapping[int, ProcessTime]) -> bool:
    # The processes were read one after the other, so parents can seem to form a circle.
    seen: set[int] = set()
    while pid in by_pid and pid not in seen:
        if pid == ancestor:
            return True
        seen.add(pid)
        pid = by_pid[pid].parent
    return pid == ancestor


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _printable(text: bytes) -> str:
    characters = filter(str.isprintable, text.decode(errors="replace"))
    return "".join(characters).strip()[:_LONGEST_NAME].rstrip()
