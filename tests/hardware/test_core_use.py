"""The use of cores: with simulated counters, and that of a real program (Linux)."""

import os
import sys

import pytest

from hardware import core_use
from hardware.core_use import CoreUse, observe_cores
from hardware.environment import CpuCounters
from tests.hardware.competitors import CORE, competitor


@pytest.fixture
def readings(monkeypatch) -> list[CpuCounters | None]:
    """Return a list of readings, one after the other; this process may use cores 0 and 2."""
    readings: list[CpuCounters | None] = []
    monkeypatch.setattr(core_use, "_OBSERVED_S", 0.0)
    monkeypatch.setattr(core_use, "read_counters", lambda: readings.pop(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    return readings


def counters(at_s: float, busy_s: list[float], steal_s: list[float]) -> CpuCounters:
    return CpuCounters(
        at_ns=round(1e9 * at_s), busy_s=tuple(busy_s), steal_s=tuple(steal_s), own_s=0.0
    )


def test_it_is_a_fraction_of_the_time_on_each_core_that_this_process_may_use(readings):
    readings += [counters(10, [5, 6, 7], [1, 2, 3]), counters(12, [5.5, 8, 7], [1, 2, 3.2])]
    assert observe_cores() == {
        0: CoreUse(busy=0.25, steal=0.0),
        2: CoreUse(busy=0.0, steal=pytest.approx(0.1)),
    }


def test_it_is_at_most_the_whole_time(readings):
    """The kernel counts in steps of 10 ms."""
    readings += [counters(10, [5, 6, 7], [0, 0, 0]), counters(10.2, [5.21, 6, 7], [0, 0, 0.21])]
    assert observe_cores() == {0: CoreUse(busy=1.0, steal=0.0), 2: CoreUse(busy=0.0, steal=1.0)}


@pytest.mark.parametrize("missing", [0, 1])
def test_it_is_unknown_without_counters(readings, missing):
    readings += [counters(0, [0, 0, 0], [0, 0, 0]), counters(1, [0, 0, 0], [0, 0, 0])]
    readings[missing] = None
    assert observe_cores() is None


@pytest.mark.skipif(sys.platform != "linux", reason="pins a program to a core")
def test_a_program_that_computes_makes_its_core_busy():
    with competitor():
        found = observe_cores()
    assert found is not None
    assert set(found) == os.sched_getaffinity(0)
    # The hypervisor may take the rest.
    assert found[CORE].busy + found[CORE].steal > 0.7
