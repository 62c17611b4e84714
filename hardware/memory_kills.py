"""How many processes the kernel has killed for lack of memory.

The kernel sends SIGKILL to a process if memory runs out, and so may any other program. Only the
kernel counts its own kills: for the whole machine, and on most systems also for each control group
(cgroup), which a container or a login session usually is.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hardware.processes import PROC

CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class KillCounts:
    """How many processes the kernel had killed for lack of memory at some moment after its start.

    Attributes:
        machine: On the whole machine, including all containers; None if the system does not count
            them.
        group: In the control group of the process that read this; None without such a counter.
        group_id: What identifies that group on the running system; None without such a counter.
    """

    machine: int | None
    group: int | None
    group_id: str | None


def read_kill_counts(proc: Path | None = None, cgroups: Path | None = None) -> KillCounts:
    """Read the kernel's counters.

    Args:
        proc: The folder that describes the processes; None is the system's.
        cgroups: The folder that describes the control groups; None is the system's.
    """
    proc = proc or PROC
    machine = _read_counter(proc / "vmstat")
    files = _group_counters(proc, cgroups or CGROUPS)
    group = next((found for file in files if (found := _read_counter(file)) is not None), None)
    return KillCounts(
        machine=None if machine is None else machine[0],
        group=None if group is None else group[0],
        group_id=None if group is None else group[1],
    )


def has_killed_between(before: KillCounts, after: KillCounts) -> bool | None:
    """Return whether there was a kill between two readings; None if no counter was read twice.

    The counter of the control group is decisive if both readings are of the same group, because the
    machine's counter includes the kills in all other containers.

    Args:
        before: The first reading.
        after: A later reading, by any process of the same running system.
    """
    pairs = [(before.machine, after.machine)]
    if before.group_id == after.group_id:
        pairs.insert(0, (before.group, after.group))
    for first, last in pairs:
        if first is not None and last is not None:
            return last > first
    return None


class MemoryKills:
    """Observes whether the kernel kills a process for lack of memory, from now on.

    Args:
        proc: See `read_kill_counts`.
        cgroups: See `read_kill_counts`.
    """

    def __init__(self, proc: Path | None = None, cgroups: Path | None = None) -> None:
        self._proc = proc
        self._cgroups = cgroups
        self.restart()

    def restart(self) -> None:
        """Disregard what was killed until now."""
        self._before = read_kill_counts(self._proc, self._cgroups)

    def has_killed(self) -> bool | None:
        """Return whether there was a kill; None if the system does not count them."""
        return has_killed_between(self._before, read_kill_counts(self._proc, self._cgroups))


def _group_counters(proc: Path, cgroups: Path) -> Iterator[Path]:
    """Yield the files that may count the kills in the control group of this process.

    A container may see its own group at the root of the hierarchy, although the path names it.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        # "4:memory:/user.slice" in version 1 of cgroups, "0::/user.slice" in version 2
        hierarchy, controllers, path = line.split(":", 2)
        group = path.lstrip("/")
        if "memory" in controllers.split(","):
            for folder in (cgroups / "memory" / group, cgroups / "memory"):
                yield folder / "memory.oom_control"
        elif hierarchy == "0":
            for folder in (cgroups / group, cgroups / "unified" / group, cgroups):
                yield folder / "memory.events"


def _read_counter(path: Path) -> tuple[int, str] | None:
    """Return the number in a line such as "oom_kill 3", and the inode of the file; or None."""
    try:
        with path.open() as file:
            for line in file:
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    return int(number), str(os.fstat(file.fileno()).st_ino)
    except (OSError, ValueError):
        return None
    return None
