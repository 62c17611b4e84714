"""Calmer cores to move to, with simulated counters."""

import itertools
import os
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware import core_use
from hardware.cores import calmer_cores
from hardware.environment import CpuCounters

CORES = 6


def simulate(
    monkeypatch: pytest.MonkeyPatch, used: dict[int, float], stolen: dict[int, float]
) -> None:
    """Simulate which fractions of each available core are used or stolen."""
    times = itertools.count(1_000)

    def read_counters() -> CpuCounters:
        now_s = next(times)
        return CpuCounters(
            at_ns=now_s * 10**9,
            busy_s=tuple(100 - core + now_s * used.get(core, 0.0) for core in range(CORES)),
            steal_s=tuple(now_s * stolen.get(core, 0.0) for core in range(CORES)),
            own_s=0.0,
        )

    monkeypatch.setattr(core_use, "_OBSERVED_S", 0.0)
    monkeypatch.setattr(core_use, "read_counters", read_counters)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(used), raising=False)


@pytest.mark.parametrize(
    ("used", "current", "expected"),
    [
        ({0: 0.9, 1: 0.2}, [0], [1]),
        ({0: 0.9, 1: 0.2}, [1], None),  # it is the calmest
        ({0: 0.4, 1: 0.2}, [0], None),  # hardly a difference
        ({0: 0.9, 1: 0.2, 4: 0.1, 5: 0.1}, [0], [5]),  # ties go to higher numbers
        ({0: 0.9, 1: 0.8, 2: 0.1, 3: 0.0}, [0, 1], [3, 2]),
        ({0: 0.9, 1: 0.0, 2: 0.1, 3: 0.8}, [0, 1], [1, 2]),  # only one of two cores is busy
        ({0: 0.9, 1: 0.9}, [0, 1], None),  # there are no others
        ({0: 0.9, 1: 0.0}, [], None),  # a system that pins no threads
    ],
)
def test_busy_cores_are_left_for_much_calmer_ones(monkeypatch, used, current, expected):
    simulate(monkeypatch, used, {})
    assert calmer_cores(current) == expected


def test_a_core_that_the_hypervisor_takes_is_as_bad_as_a_busy_one(monkeypatch):
    simulate(monkeypatch, {0: 0.0, 1: 0.1}, {0: 0.6})
    assert calmer_cores([0]) == [1]


def test_cores_that_this_process_may_not_use_do_not_count(monkeypatch):
    simulate(monkeypatch, {0: 0.9, 1: 0.7}, {})
    assert calmer_cores([0]) is None


def test_there_are_none_without_counters(monkeypatch):
    simulate(monkeypatch, {0: 0.9, 1: 0.0}, {})
    monkeypatch.setattr(core_use, "read_counters", lambda: None)
    assert calmer_cores([0]) is None


shares = st.lists(st.integers(0, 20), min_size=1, max_size=CORES)


@given(twentieths=shares, data=st.data())
def test_no_other_cores_are_calmer(twentieths, data):
    """Compare with all sets of as many cores."""
    used = {core: share / 20 for core, share in enumerate(twentieths)}
    current = data.draw(st.lists(st.sampled_from(sorted(used)), min_size=1, unique=True))

    def load(chosen: Sequence[int]) -> float:
        return sum(used[core] for core in chosen)

    least = min(map(load, itertools.combinations(used, len(current))))
    with pytest.MonkeyPatch.context() as monkeypatch:
        simulate(monkeypatch, used, {})
        found = calmer_cores(current)
    if found is None:
        assert load(current) - least < 0.31
    else:
        assert len(set(found)) == len(current)
        assert load(found) == pytest.approx(least)
        assert load(current) - least > 0.29
