"""What other programs and the hypervisor take from the processor, observed for a moment."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hardware.environment import CpuCounters, read_counters
from hardware.processes import PROC, Consumer, largest_consumer, read_process_times

# The kernel counts in steps of 10 ms: 20 of them, of which 4 may belong to other programs and 2 to
# the hypervisor. It takes nothing from an idle core, and thus more from one that runs a model.
_OBSERVED_S = 0.2
_BUSY = 0.2
_STOLEN = 0.1
_CONTENDED = 0.2  # Fraction of the time in which a program waits for a core on a busy machine.


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What other programs and the hypervisor take from a core; as text, the clause that reports it.

    Attributes:
        core: The busiest of the cores in question; None if none were chosen or it is unknown. If
            none were chosen, `busy` and `steal` are those of the idlest core.
        busy: The fraction of the core's time that other programs use; 0 if it is unknown.
        steal: The fraction of the core's time that the hypervisor takes; 0 if it is unknown.
        pressure: The fraction of the time in which a program that could run waits for a core, on
            this machine as a whole; None if it is unknown.
        consumer: The process that uses the cores in question most; None if no process that is known
            makes a core busy by itself.
    """

    core: int | None
    busy: float
    steal: float
    pressure: float | None
    consumer: Consumer | None

    def __str__(self) -> str:
        return ", and ".join(self._clauses())

    def _clauses(self) -> Iterator[str]:
        core = "even the idlest core" if self.core is None else f"core {self.core}"
        if self.busy >= _BUSY or self.steal < _STOLEN:
            yield from self._programs(core)
        if self.steal >= _STOLEN:
            yield f"the hypervisor takes {_percent(self.steal)} of {core}"

    def _programs(self, core: str) -> Iterator[str]:
        others = f"other programs use {_percent(self.busy)} of {core}"
        if self.consumer is None:
            waiting = f"programs wait for a free core {_percent(self.pressure or 0.0)} of the time"
            yield others if self.busy >= _BUSY else waiting
            return
        used = f"{_percent(self.consumer.cores)} of a core"
        if self.busy >= _BUSY and (self.core is None or self.consumer.cores < self.busy / 2):
            yield others
            yield f"{self.consumer} uses the most, {used}"
        else:
            yield f"{self.consumer} uses {used}"


def load_of_others(cores: Sequence[int], *, proc: Path = PROC) -> Load | None:
    """Observe for a moment whether other programs or the hypervisor use the processor.

    This takes 0.2 s on a quiet machine. On a busy one it takes twice as long, because a second
    observation determines the process to name. This process and its descendants must be idle
    meanwhile: their load counts, too.

    Args:
        cores: The cores in question. If none are chosen yet, one idle core is enough.
        proc: The folder with the kernel's files about processes and pressure.

    Returns:
        The load; None if it is low or unknown.
    """
    if _observed_load(cores, proc) is None:
        return None
    before = read_process_times(proc)
    load = _observed_load(cores, proc)
    if load is None:
        return None
    after = read_process_times(proc)
    consumer = largest_consumer(
        before, after, cores or os.sched_getaffinity(0), apart_from=os.getpid(), proc=proc
    )
    named = consumer is not None and consumer.cores >= _BUSY
    return replace(load, consumer=consumer if named else None)


def _observed_load(cores: Sequence[int], proc: Path) -> Load | None:
    """Return the load without its consumer, or None if it is low or unknown."""
    before, waited_s_before, start = read_counters(), _waited_s(proc), time.monotonic()
    time.sleep(_OBSERVED_S)
    after, waited_s_after, end = read_counters(), _waited_s(proc), time.monotonic()
    pressure = None
    if waited_s_before is not None and waited_s_after is not None:
        pressure = (waited_s_after - waited_s_before) / (end - start)
    contended = pressure is not None and pressure >= _CONTENDED
    core, busy, steal = None, 0.0, 0.0
    if before is not None and after is not None:
        core, busy, steal = _load_of_core(before, after, cores)
        # Pressure is that of all cores. The programs that wait may be bound to other ones.
        contended = contended and busy + steal > 0
    if busy < _BUSY and steal < _STOLEN and not contended:
        return None
    return Load(core=core, busy=busy, steal=steal, pressure=pressure, consumer=None)


def _load_of_core(
    before: CpuCounters, after: CpuCounters, cores: Sequence[int]
) -> tuple[int | None, float, float]:
    """Return `Load.core`, `Load.busy` and `Load.steal`."""
    seconds = (after.at_ns - before.at_ns) / 1e9

    def used(core: int) -> tuple[float, float]:
        busy = (after.busy_s[core] - before.busy_s[core]) / seconds
        steal = (after.steal_s[core] - before.steal_s[core]) / seconds
        return min(1.0, busy), min(1.0, steal)  # The kernel counts in steps.

    def severity(core: int) -> float:
        busy, steal = used(core)
        return max(busy / _BUSY, steal / _STOLEN)

    if cores:
        core = max(cores, key=severity)
        return core, *used(core)
    return None, *used(min(os.sched_getaffinity(0), key=severity))


def _waited_s(proc: Path) -> float | None:
    """Return the seconds since the machine started in which a program waited for a core.

    The kernel calls this CPU pressure (Documentation/accounting/psi.rst).
    """
    try:
        some = (proc / "pressure" / "cpu").read_text().splitlines()[0]
        return int(some.rpartition("total=")[2]) / 1e6
    except (OSError, ValueError, IndexError):
        return None


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"
