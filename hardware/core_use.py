"""How much of each core's time is used or stolen, observed for a moment."""

import os
import time
from dataclasses import dataclass

from hardware.environment import read_counters

# The kernel counts in steps of 10 ms, 20 of which are observed.
_OBSERVED_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreUse:
    """What happened on one core, as fractions of its time.

    Attributes:
        busy: The fraction in which it worked for any process of this system.
        steal: The fraction that the hypervisor took.
    """

    busy: float
    steal: float


def observe_cores() -> dict[int, CoreUse] | None:
    """Observe for 0.2 s how the cores are used that this process may run on (Linux).

    Returns:
        The use by core; None if the system does not count the time of its cores.
    """
    before = read_counters()
    time.sleep(_OBSERVED_S)
    after = read_counters()
    if before is None or after is None:
        return None
    seconds = (after.at_ns - before.at_ns) / 1e9

    def fraction(now_s: float, then_s: float) -> float:
        return min(1.0, (now_s - then_s) / seconds)  # the kernel counts in steps

    return {
        core: CoreUse(
            busy=fraction(after.busy_s[core], before.busy_s[core]),
            steal=fraction(after.steal_s[core], before.steal_s[core]),
        )
        for core in os.sched_getaffinity(0)
    }
