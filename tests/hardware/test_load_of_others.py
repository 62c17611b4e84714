"""A measurement waits for what other programs take: counters of two cores, and a real program."""

import os
from collections.abc import Callable, Iterator

import pytest

from hardware import quiet
from hardware.environment import CpuCounters, read_counters
from hardware.quiet import measuring
from tests.hardware.machines import PATIENCE_S


@pytest.fixture
def others(monkeypatch) -> Callable[..., None]:
    monkeypatch.setattr(quiet, "_OBSERVED_S", 0.05)

    def play(*shares: tuple[float, float]) -> None:
        *first, last = shares
        looks = iter([*first, *[last] * 1_000])

        def readings() -> Iterator[CpuCounters]:
            at_ns, busy_s = 0, (5.0, 7.0)
            for used in looks:
                yield CpuCounters(at_ns=at_ns, busy_s=busy_s, steal_s=(0.0, 0.0), own_s=0.0)
                at_ns += 10**9
                busy_s = tuple(a + b for a, b in zip(busy_s, used, strict=True))
                yield CpuCounters(at_ns=at_ns, busy_s=busy_s, steal_s=(0.0, 0.0), own_s=0.0)

        reading = readings()
        monkeypatch.setattr(quiet, "read_counters", lambda: next(reading))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)

    return play


def heard(tmp_path, cores=(), patience_s=PATIENCE_S) -> list[str]:
    """What a measurement says before it begins."""
    said: list[str] = []
    with measuring(said.append, cores, patience_s=patience_s, folder=tmp_path):
        return said


def test_a_quiet_machine_is_taken_at_once(others, tmp_path):
    others((0.1, 0.1))
    assert heard(tmp_path) == heard(tmp_path, [0, 1]) == []


def test_a_busy_core_is_waited_for(others, tmp_path):
    others((0.0, 0.8), (0.0, 0.4), (0.0, 0.1))
    assert heard(tmp_path, [0, 1], patience_s=30.2) == [
        "other programs use 80% of core 1; waiting for up to 30 s",
        "other programs use 40% of core 1; waiting for up to 30 s",
    ]


def test_a_core_that_is_not_measured_on_may_be_busy(others, tmp_path):
    others((0.0, 1.0))
    assert heard(tmp_path, [0]) == []


def test_one_free_core_is_enough_while_none_is_chosen(others, tmp_path):
    others((0.0, 1.0))
    assert heard(tmp_path) == []
    others((0.7, 0.9), (0.1, 0.9))
    (sentence,) = heard(tmp_path, patience_s=30.2)
    assert sentence == ("other programs use 70% or more of every core; waiting for up to 30 s")


def test_a_machine_that_stays_busy_is_taken_in_the_end(others, tmp_path):
    others((0.8, 0.8))
    said = heard(tmp_path, [1], patience_s=0.2)
    assert said[-1] == "other programs use 80% of core 1; measuring regardless"
    assert all("waiting for up to" in sentence for sentence in said[:-1])


def test_a_system_that_counts_nothing_is_not_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(quiet, "read_counters", lambda: None)
    assert heard(tmp_path, [0]) == []


@pytest.mark.skipif(read_counters() is None, reason="this system keeps no counters")
def test_a_real_program_is_noticed_and_its_end_too(machine):
    core = min(os.sched_getaffinity(0))
    program = machine.start(f"os.sched_setaffinity(0, [{core}])\nwrite('runs')\nwhile True: pass")
    machine.wait_for("runs")
    said: list[str] = []

    def hear(sentence: str) -> None:
        said.append(sentence)
        program.kill()

    with measuring(hear, [core], patience_s=2.0, folder=machine.folder):
        assert said[0].startswith("other programs use ")
        assert f" of core {core}; waiting for up to" in said[0]
