"""What other programs and the hypervisor take from the processor, observed for a moment."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hardware.core_use import CoreUse, observe_cores
from hardware.processes import PROC, Consumer, largest_consumer, read_process_times

# A core is busy if other programs use this fraction of its time, or if the hypervisor takes that
# fraction, because it takes more from a core that runs a model.
_BUSY = 0.2
_STOLEN = 0.1
_CONTENDED = 0.2  # Fraction of the time in which a program waits for a core on a busy machine.


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What other programs and the hypervisor take from the idlest core.

    As text, it is the clause that reports it.

    Attributes:
        busy: The fraction of the core's time that other programs use; 0 if it is unknown.
        steal: The fraction of the core's time that the hypervisor takes; 0 if it is unknown.
        pressure: The fraction of the time in which a program that could run waits for a core, on
            this machine as a whole; None if it is unknown.
        consumer: The process that uses the processor most; None if no process that is known makes
            a core busy by itself.
    """

    busy: float
    steal: float
    pressure: float | None
    consumer: Consumer | None

    def __str__(self) -> str:
        return ", and ".join(self._clauses())

    def _clauses(self) -> Iterator[str]:
        if self.busy >= _BUSY or self.steal < _STOLEN:
            yield from self._programs()
        if self.steal >= _STOLEN:
            yield f"the hypervisor takes {_percent(self.steal)} of the idlest core"

    def _programs(self) -> Iterator[str]:
        if self.busy >= _BUSY:
            yield f"other programs use {_percent(self.busy)} of the idlest core"
        elif self.consumer is None:
            yield f"programs wait for a free core {_percent(self.pressure or 0.0)} of the time"
        if self.consumer is not None:
            used = f"{_percent(self.consumer.cores)} of a core"
            if self.busy >= _BUSY:
                yield f"the busiest of them is {self.consumer} with {used}"
            else:
                yield f"{self.consumer} uses {used}"


def load_of_others(*, proc: Path = PROC) -> Load | None:
    """Observe for a moment whether other programs or the hypervisor use every core.

    This takes 0.2 s on a quiet machine. On a busy one it takes twice as long, because a second
    observation determines the process to name. This process and its descendants must be idle
    meanwhile: their load counts, too.

    Args:
        proc: The folder with the kernel's files about processes and pressure.

    Returns:
        The load; None if it is low or unknown.
    """
    if _observed_load(proc) is None:
        return None
    before = read_process_times(proc)
    load = _observed_load(proc)
    if load is None:
        return None
    after = read_process_times(proc)
    consumer = largest_consumer(
        before, after, os.sched_getaffinity(0), apart_from=os.getpid(), proc=proc
    )
    named = consumer is not None and consumer.cores >= _BUSY
    return replace(load, consumer=consumer if named else None)


def _observed_load(proc: Path) -> Load | None:
    """Return the load without its consumer, or None if it is low or unknown."""
    waited_s_before, start = _waited_s(proc), time.monotonic()
    used = observe_cores()
    waited_s_after, end = _waited_s(proc), time.monotonic()
    pressure = None
    if waited_s_before is not None and waited_s_after is not None:
        pressure = (waited_s_after - waited_s_before) / (end - start)
    contended = pressure is not None and pressure >= _CONTENDED
    idlest = CoreUse(busy=0.0, steal=0.0)
    if used is not None:
        idlest = min(used.values(), key=_severity)
        # Pressure is that of all cores. The programs that wait may be bound to other ones.
        contended = contended and idlest.busy + idlest.steal > 0
    if idlest.busy < _BUSY and idlest.steal < _STOLEN and not contended:
        return None
    return Load(busy=idlest.busy, steal=idlest.steal, pressure=pressure, consumer=None)


def _severity(use: CoreUse) -> float:
    return max(use.busy / _BUSY, use.steal / _STOLEN)


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
