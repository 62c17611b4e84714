"""A measurement waits while other programs use its cores (simulated counters, a real program)."""

import os
from collections.abc import Callable, Iterator

import pytest

from hardware import quiet
from hardware.environment import CpuCounters, read_counters
from hardware.quiet import measuring
from tests.hardware.machines import PATIENCE_S


@pytest.fixture
def others(monkeypatch) -> Callable[..., None]:
    """Simulate other programs: each argument is their use of two cores, as fractions.

    Every observation uses the next argument; the last one remains.
    """
    monkeypatch.setattr(quiet, "_OBSERVED_S", 0.05)

    def play(*fractions: tuple[float, float]) -> None:
        *first, last = fractions
        observations = iter([*first, *[last] * 1_000])

        def readings() -> Iterator[CpuCounters]:
            at_ns, busy_s = 0, (5.0, 7.0)
            for used in observations:
                yield CpuCounters(at_ns=at_ns, busy_s=busy_s, steal_s=(0.0, 0.0), own_s=0.0)
                at_ns += 10**9
                busy_s = tuple(a + b for a, b in zip(busy_s, used, strict=True))
                yield CpuCounters(at_ns=at_ns, busy_s=busy_s, steal_s=(0.0, 0.0), own_s=0.0)

        reading = readings()
        monkeypatch.setattr(quiet, "read_counters", lambda: next(reading))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)

    return play


def reports(tmp_path, cores=(), patience_s=PATIENCE_S) -> list[str]:
    """Return what a measurement reports before it starts."""
    sentences: list[str] = []
    with measuring(sentences.append, cores, patience_s=patience_s, folder=tmp_path):
        return sentences


def test_a_measurement_starts_at_once_on_a_quiet_machine(others, tmp_path):
    others((0.1, 0.1))
    assert reports(tmp_path) == reports(tmp_path, [0, 1]) == []


def test_a_measurement_waits_for_a_busy_core(others, tmp_path):
    others((0.0, 0.8), (0.0, 0.4), (0.0, 0.1))
    assert reports(tmp_path, [0, 1], patience_s=30.2) == [
        "other programs use 80 % of core 1; waiting for up to 30 s",
        "other programs use 40 % of core 1; waiting for up to 30 s",
    ]


def test_a_core_without_a_measurement_may_be_busy(others, tmp_path):
    others((0.0, 1.0))
    assert reports(tmp_path, [0]) == []


def test_one_idle_core_is_enough_while_none_is_chosen(others, tmp_path):
    others((0.0, 1.0))
    assert reports(tmp_path) == []
    others((0.7, 0.9), (0.1, 0.9))
    (sentence,) = reports(tmp_path, patience_s=30.2)
    assert sentence == ("other programs use 70 % or more of every core; waiting for up to 30 s")


def test_a_measurement_starts_in_the_end_if_the_machine_stays_busy(others, tmp_path):
    others((0.8, 0.8))
    sentences = reports(tmp_path, [1], patience_s=0.2)
    assert sentences[-1] == "other programs use 80 % of core 1; measuring anyway"
    assert all("waiting for up to" in sentence for sentence in sentences[:-1])


def test_a_measurement_does_not_wait_without_counters(monkeypatch, tmp_path):
    monkeypatch.setattr(quiet, "read_counters", lambda: None)
    assert reports(tmp_path, [0]) == []


@pytest.mark.skipif(read_counters() is None, reason="this system keeps no counters")
def test_a_real_program_and_its_end_are_noticed(machine):
    core = min(os.sched_getaffinity(0))
    program = machine.start(f"os.sched_setaffinity(0, [{core}])\nwrite('runs')\nwhile True: pass")
    machine.wait_for("runs")
    sentences: list[str] = []

    def report(sentence: str) -> None:
        sentences.append(sentence)
        program.kill()

    with measuring(report, [core], patience_s=2.0, folder=machine.folder):
        assert sentences[0].startswith("other programs use ")
        assert f" of core {core}; waiting for up to" in sentences[0]
