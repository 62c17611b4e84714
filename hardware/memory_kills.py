"""How many processes the kernel has killed for lack of memory.

The kernel sends SIGKILL to a process if memory runs out, and so may any other program. Only the
kernel counts its own kills: for the whole machine, and on most systems also for each control group
(cgroup), which a container or a login session usually is.
"""

import contextlib
from pathlib import Path

from hardware.processes import PROC, kernel_kills

CGROUPS = Path("/sys/fs/cgroup")


class MemoryKills:
    """Observes whether the kernel kills a process for lack of memory, from now on.

    Args:
        proc: The folder that describes the processes.
        cgroups: The folder that describes the control groups.
    """

    def __init__(self, proc: Path | None = None, cgroups: Path | None = None) -> None:
        self._proc = proc or PROC
        self._cgroups = cgroups or CGROUPS
        self._counters = _group_counters(self._proc, self._cgroups)
        self.restart()

    def restart(self) -> None:
        """Disregard what was killed until now."""
        self._before = self._read()

    def has_killed(self) -> bool | None:
        """Return whether there was a kill; None if the system does not count them.

        The control group of this process is decisive where it has a counter, because the machine's
        counter includes the kills in all other containers.
        """
        for before, now in zip(self._before, self._read(), strict=True):
            if before is not None and now is not None:
                return now > before
        return None

    def _read(self) -> tuple[int | None, int | None]:
        counts = (count for file in self._counters if (count := _count(file)) is not None)
        return next(counts, None), kernel_kills(self._proc / "vmstat")


def _group_counters(proc: Path, cgroups: Path) -> list[Path]:
    """Return the files that may count the kills in the control group of this process.

    A container may see its own group at the root of the hierarchy, although the path names it.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        # "4:memory:/user.slice" in version 1 of cgroups, "0::/user.slice" in version 2
        hierarchy, controllers, path = line.split(":", 2)
        group = path.lstrip("/")
        if "memory" in controllers.split(","):
            folders = [cgroups / "memory" / group, cgroups / "memory"]
            found += [folder / "memory.oom_control" for folder in folders]
        elif hierarchy == "0":
            folders = [cgroups / group, cgroups / "unified" / group, cgroups]
            found += [folder / "memory.events" for folder in folders]
    return found


def _count(file: Path) -> int | None:
    """Return the number in a line such as "oom_kill 3"; None without such a line."""
    with contextlib.suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            name, _, number = line.partition(" ")
            if name == "oom_kill":
                return int(number)
    return None
