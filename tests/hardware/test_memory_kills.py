"""The kernel's counters of processes that it killed for lack of memory, in files like its own."""

from pathlib import Path

import pytest

from hardware.memory_kills import MemoryKills, has_killed_between, read_kill_counts

VMSTAT = "nr_free_pages 812\noom_kill {}\ndrop_pagecache 3\n"
EVENTS = "low 0\nhigh 0\nmax 12\noom 4\noom_kill {}\noom_group_kill 0\n"
OOM_CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
VERSION_1 = "9:name=systemd:/\n4:cpu,memory:/user.slice/one\n0::/user.slice\n"
VERSION_2 = "0::/user.slice/one\n"


class System:
    """A folder like /proc and one like /sys/fs/cgroup."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def machine(self, kills: int) -> None:
        self.write(self.proc / "vmstat", VMSTAT.format(kills))

    def kills(self) -> MemoryKills:
        return MemoryKills(self.proc, self.cgroups)


@pytest.fixture
def system(tmp_path):
    return System(tmp_path)


def test_the_machines_counter_reports_a_kill(system):
    system.machine(3)
    kills = system.kills()
    assert kills.has_killed() is False
    system.machine(4)
    assert kills.has_killed() is True
    kills.restart()
    assert kills.has_killed() is False


@pytest.mark.parametrize(
    ("groups", "file", "text"),
    [
        (VERSION_1, "memory/user.slice/one/memory.oom_control", OOM_CONTROL),
        # A container sees its own group at the root.
        (VERSION_1, "memory/memory.oom_control", OOM_CONTROL),
        (VERSION_2, "user.slice/one/memory.events", EVENTS),
        (VERSION_2, "unified/user.slice/one/memory.events", EVENTS),
        (VERSION_2, "memory.events", EVENTS),
    ],
)
def test_the_counter_of_the_own_group_is_decisive(system, groups, file, text):
    """Kills in other containers count in that of the machine."""
    system.write(system.proc / "self" / "cgroup", groups)
    system.machine(3)
    system.write(system.cgroups / file, text.format(7))
    kills = system.kills()
    system.machine(4)
    assert kills.has_killed() is False
    system.write(system.cgroups / file, text.format(8))
    assert kills.has_killed() is True


def test_the_machines_counter_is_used_where_the_group_has_none(system):
    system.write(system.proc / "self" / "cgroup", VERSION_2)
    system.machine(3)
    kills = system.kills()
    system.machine(4)
    assert kills.has_killed() is True


@pytest.mark.parametrize("vmstat", [None, "nr_free_pages 812\n", ""])
def test_a_system_without_counters_leaves_it_unknown(system, vmstat):
    if vmstat is not None:
        system.write(system.proc / "vmstat", vmstat)
    assert system.kills().has_killed() is None


def test_the_machines_counter_decides_between_processes_of_different_groups(system):
    """The counters of two groups say nothing about each other."""
    system.machine(3)
    system.write(system.cgroups / "one" / "memory.events", EVENTS.format(7))
    system.write(system.cgroups / "other" / "memory.events", EVENTS.format(9))
    readings = {}
    for group in ("one", "other"):
        system.write(system.proc / "self" / "cgroup", f"0::/{group}\n")
        readings[group] = read_kill_counts(system.proc, system.cgroups)
    assert (readings["one"].group, readings["other"].group) == (7, 9)
    assert has_killed_between(readings["one"], readings["other"]) is False
    system.machine(4)
    later = read_kill_counts(system.proc, system.cgroups)
    assert has_killed_between(readings["one"], later) is True
    assert has_killed_between(readings["other"], later) is False
