"""Other programs on the processor are noticed, named and waited for (simulated and real ones)."""

import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hardware import core_use, processes, processor_load, quiet
from hardware.environment import CpuCounters, read_counters
from hardware.processor_load import Load, load_of_others
from hardware.quiet import measuring
from tests.hardware.machines import wait_until
from tests.hardware.proc_tree import write_pressure, write_process

# Every phase of a simulation lasts as long as one observation that names a process.
PHASE_S = 0.4


class SimulatedMachine:
    """A machine with two cores, whose time passes only while a program sleeps.

    Attributes:
        proc: Its folder /proc, without the file of the counters.
        has_counters: Whether /proc/stat can be read.
        sleeps: How often a program slept.
    """

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        self.has_counters = True
        self.sleeps = 0
        self._phases: list[Callable[[float], None]] = []
        self._start_s = self._now_s = 100.0
        self._busy_s = [5.0, 7.0]
        self._steal_s = [2.0, 3.0]
        self._waited_s = 1.0
        self._used_s: dict[int, float] = {}

    def play(self, *phases: Callable[[float], None]) -> None:
        """Begin these phases, one after the other; the last one remains."""
        for phase in phases:
            phase(0.0)
        self._phases, self._start_s = list(phases), self._now_s

    def load(
        self,
        busy=(0.0, 0.0),
        steal=(0.0, 0.0),
        pressure: float | None = None,
        programs: dict[int, tuple[bytes, float]] | None = None,
    ) -> Callable[[float], None]:
        """Return a phase: fractions of each core's time, and the use of a core by programs."""

        def pass_by(seconds: float) -> None:
            for core in range(2):
                self._busy_s[core] += seconds * busy[core]
                self._steal_s[core] += seconds * steal[core]
            if pressure is not None:
                self._waited_s += seconds * pressure
                write_pressure(self.proc, round(1e6 * self._waited_s))
            for pid, (name, used) in (programs or {}).items():
                self._used_s[pid] = self._used_s.get(pid, 0.0) + seconds * used
                write_process(self.proc, pid, name=name, used_s=self._used_s[pid])

        return pass_by

    def counters(self) -> CpuCounters | None:
        if not self.has_counters:
            return None
        return CpuCounters(
            at_ns=self.monotonic_ns(),
            busy_s=tuple(self._busy_s),
            steal_s=tuple(self._steal_s),
            own_s=0.0,
        )

    def sleep(self, seconds: float) -> None:
        phase = int((self._now_s - self._start_s) / PHASE_S + 1e-6)
        self._phases[min(phase, len(self._phases) - 1)](seconds)
        self._now_s += seconds
        self.sleeps += 1

    def monotonic(self) -> float:
        return self._now_s

    def monotonic_ns(self) -> int:
        return round(1e9 * self._now_s)


@pytest.fixture
def simulated(monkeypatch, tmp_path) -> Iterator[SimulatedMachine]:
    proc = tmp_path / "proc"
    proc.mkdir()
    machine = SimulatedMachine(proc)
    for module in (quiet, processor_load, core_use, processes):
        monkeypatch.setattr(module, "time", machine)
    monkeypatch.setattr(core_use, "read_counters", machine.counters)
    monkeypatch.setattr(quiet, "load_of_others", functools.partial(load_of_others, proc=proc))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    return machine


def load(machine: SimulatedMachine) -> str:
    """Return the load as text, and "" if there is none."""
    return str(load_of_others(proc=machine.proc) or "")


def reports(tmp_path: Path, patience_s: float = 30.0) -> list[str]:
    """Return what a measurement reports before it starts."""
    sentences: list[str] = []
    with measuring(sentences.append, patience_s=patience_s, folder=tmp_path):
        return sentences


class TestAMeasurement:
    def test_starts_at_once_on_a_quiet_machine(self, simulated, tmp_path):
        simulated.play(simulated.load(busy=(0.1, 0.1), steal=(0.05, 0.05), pressure=0.1))
        assert reports(tmp_path) == []
        assert simulated.sleeps == 1

    def test_waits_for_other_programs(self, simulated, tmp_path):
        simulated.play(
            simulated.load(busy=(0.9, 0.8), programs={4711: (b"pytest", 0.9)}),
            simulated.load(busy=(0.4, 0.6)),
            simulated.load(steal=(0.12, 0.2)),
            simulated.load(busy=(0.9, 0.1)),
        )
        assert reports(tmp_path) == [
            "other programs use 80 % of the idlest core, and the busiest of them is `pytest` "
            "(pid 4711) with 90 % of a core; waiting for up to 30 s for a quiet machine",
            "other programs use 40 % of the idlest core; waiting for up to 30 s for a quiet "
            "machine",
            "the hypervisor takes 12 % of the idlest core; waiting for up to 29 s for a quiet "
            "machine",
        ]

    def test_waits_for_the_given_time_and_starts_regardless(self, simulated, tmp_path):
        simulated.play(simulated.load(busy=(0.8, 0.8)))
        sentences: list[str] = []
        with measuring(sentences.append, patience_s=10.1, folder=tmp_path) as reservation:
            assert reservation.waited_s == pytest.approx(10.1, abs=PHASE_S)
        *first, last = sentences
        assert last == (
            "other programs use 80 % of the idlest core; measuring anyway, and counting only "
            "the time that the model itself ran"
        )
        assert first
        assert all("; waiting for up to " in sentence for sentence in first)

    def test_may_not_wait_at_all(self, simulated, tmp_path):
        simulated.play(simulated.load(busy=(0.8, 0.8)))
        assert reports(tmp_path, patience_s=0.0) == []
        assert simulated.sleeps == 0

    def test_starts_if_the_load_ends_before_it_can_be_named(self, simulated, tmp_path):
        busy, idle = simulated.load(busy=(1.0, 1.0)), simulated.load()
        simulated.play(lambda seconds: (idle if simulated.sleeps else busy)(seconds))
        assert reports(tmp_path) == []


class TestALoad:
    def test_is_none_on_an_idle_machine(self, simulated):
        simulated.play(simulated.load(pressure=0.0))
        assert load_of_others(proc=simulated.proc) is None

    def test_is_that_of_the_idlest_core(self, simulated):
        simulated.play(simulated.load(busy=(1.0, 0.3), pressure=0.05))
        assert load_of_others(proc=simulated.proc) == Load(
            busy=pytest.approx(0.3),
            steal=0.0,
            pressure=pytest.approx(0.05, abs=1e-4),
            consumer=None,
        )
        assert load(simulated) == "other programs use 30 % of the idlest core"

    @pytest.mark.parametrize("order", [1, -1])
    def test_is_none_if_one_core_is_idle(self, simulated, order):
        simulated.play(
            simulated.load(busy=(0.0, 1.0)[::order], steal=(0.0, 0.3)[::order], pressure=1.0)
        )
        assert load(simulated) == ""

    def test_names_the_program_that_uses_the_most(self, simulated):
        simulated.play(
            simulated.load(busy=(0.7, 0.9), programs={7: (b"make", 0.9), 8: (b"cc1", 0.7)})
        )
        assert load(simulated) == (
            "other programs use 70 % of the idlest core, and the busiest of them is `make` (pid "
            "7) with 90 % of a core"
        )

    def test_includes_what_the_hypervisor_takes(self, simulated):
        simulated.play(simulated.load(busy=(0.1, 0.1), steal=(0.12, 0.3)))
        assert load(simulated) == "the hypervisor takes 12 % of the idlest core"
        simulated.play(simulated.load(busy=(0.5, 0.9), steal=(0.3, 0.3)))
        assert load(simulated) == (
            "other programs use 50 % of the idlest core, and the hypervisor takes 30 % of "
            "the idlest core"
        )
        # 15 % that the hypervisor takes are worse than 25 % that other programs use.
        simulated.play(simulated.load(busy=(0.25, 0.0), steal=(0.0, 0.15)))
        assert load(simulated) == "other programs use 25 % of the idlest core"

    def test_names_no_program_for_what_the_hypervisor_takes(self, simulated):
        simulated.play(simulated.load(steal=(0.3, 0.3), programs={7: (b"make", 0.3)}))
        assert load(simulated) == "the hypervisor takes 30 % of the idlest core"

    def test_includes_the_pressure_on_a_core_that_is_hardly_busy(self, simulated):
        simulated.play(simulated.load(busy=(0.06, 0.06), pressure=0.35))
        assert load(simulated) == "programs wait for a free core 35 % of the time"
        simulated.play(simulated.load(busy=(0.06, 0.06), pressure=0.15))
        assert load(simulated) == ""

    def test_names_the_program_that_causes_pressure(self, simulated):
        simulated.play(
            simulated.load(busy=(0.06, 0.06), pressure=0.35, programs={7: (b"make", 0.5)})
        )
        assert load(simulated) == "`make` (pid 7) uses 50 % of a core"

    def test_names_no_program_that_causes_little_of_it(self, simulated):
        simulated.play(simulated.load(busy=(0.8, 0.8), programs={7: (b"top", 0.15)}))
        assert load(simulated) == "other programs use 80 % of the idlest core"

    def test_is_never_more_than_a_core(self, simulated):
        simulated.play(simulated.load(busy=(1.04, 1.04), programs={7: (b"cc1", 1.04)}))
        assert load(simulated) == (
            "other programs use 100 % of the idlest core, and the busiest of them is `cc1` (pid "
            "7) with 100 % of a core"
        )

    def test_names_neither_this_process_nor_its_children(self, simulated):
        simulated.play(
            simulated.load(busy=(0.8, 0.8), programs={os.getpid(): (b"nas", 0.8), 7: (b"cc", 0.5)})
        )
        assert load(simulated) == (
            "other programs use 80 % of the idlest core, and the busiest of them is `cc` (pid 7) "
            "with 50 % of a core"
        )

    def test_reads_processes_only_on_a_busy_machine(self, simulated, monkeypatch):
        def refuse(_: Path) -> None:
            raise AssertionError("the processes are read")

        monkeypatch.setattr(processor_load, "read_process_times", refuse)
        simulated.play(simulated.load(busy=(0.1, 0.1), programs={7: (b"make", 0.1)}))
        assert load(simulated) == ""
        simulated.play(simulated.load(busy=(0.9, 0.9)))
        with pytest.raises(AssertionError, match="the processes are read"):
            load(simulated)


class TestWhatCannotBeRead:
    def test_leaves_nothing_to_wait_for(self, simulated):
        simulated.has_counters = False
        simulated.play(simulated.load(busy=(1.0, 1.0)))
        assert load(simulated) == ""

    def test_leaves_the_pressure(self, simulated):
        simulated.has_counters = False
        simulated.play(simulated.load(pressure=0.5))
        assert load(simulated) == "programs wait for a free core 50 % of the time"
        simulated.play(simulated.load(pressure=0.5, programs={7: (b"make", 1.0)}))
        assert load(simulated) == "`make` (pid 7) uses 100 % of a core"

    @pytest.mark.parametrize("content", [b"", b"some avg10=0.00", b"some total=x", b"\xff"])
    def test_leaves_the_load_if_the_pressure_is_malformed(self, simulated, content):
        def write_malformed(seconds: float) -> None:
            simulated.load(busy=(0.5, 0.5), pressure=0.5)(seconds)
            (simulated.proc / "pressure" / "cpu").write_bytes(content)

        simulated.play(write_malformed)
        found = load_of_others(proc=simulated.proc)
        assert found is not None
        assert found.pressure is None
        assert str(found) == "other programs use 50 % of the idlest core"


@pytest.mark.skipif(read_counters() is None, reason="this system keeps no counters")
class TestARealProgram:
    def test_is_waited_for_until_it_ends(self, machine, monkeypatch):
        core = min(os.sched_getaffinity(0))
        program = machine.start(
            f"os.sched_setaffinity(0, [{core}])\nwrite('runs')\nwhile True: pass"
        )
        machine.wait_for("runs")
        sentences: list[str] = []

        def report(sentence: str) -> None:
            sentences.append(sentence)
            program.kill()

        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {core})
        with measuring(report, patience_s=3.0, folder=machine.folder):
            # The program is a child of this process and not named. Another busy program may be.
            assert re.search(r"(idlest core|of a core); waiting for up to \d s", sentences[0])
            assert f"pid {program.pid}" not in sentences[0]

    def test_is_named_to_a_process_that_has_not_started_it(self, machine, tmp_path):
        core, name = min(os.sched_getaffinity(0)), "a) busy (loop"
        busy = machine.start(
            f"os.sched_setaffinity(0, [{core}])\n"
            f"Path('/proc/self/comm').write_text({name!r})\n"
            "write('runs')\n"
            "while True: pass\n"
        )
        machine.wait_for("runs")
        # Other programs may use more of this core, so there seems to be only this one.
        proc = tmp_path / "proc"
        proc.mkdir()
        (proc / str(busy.pid)).symlink_to(f"/proc/{busy.pid}")
        machine.start(
            "from hardware import processor_load\n"
            "processor_load._BUSY = 0.01  # dozens of programs may share this core\n"
            f"os.sched_setaffinity(0, [{core}])\n"
            "while True: write(str(processor_load.load_of_others(proc=folder / 'proc')))"
        )
        found = f"`{name}` (pid {busy.pid})"
        wait_until(lambda: any(found in event for event in machine.events()))
