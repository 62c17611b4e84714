"""The cores of this machine that measuring processes run on."""

import os
import sys
import time
from collections.abc import Callable
from typing import TypeAlias

from hardware.environment import read_counters

# Returns that many cores to measure on.
ChooseCores: TypeAlias = Callable[[int], list[int]]

_CHOICE_SECONDS = 0.2


def idlest_cores(count: int) -> list[int]:
    """Return the idlest cores that this process may use, ties going to higher numbers (Linux)."""
    before = read_counters()
    time.sleep(_CHOICE_SECONDS)
    after = read_counters()

    def busy_s(core: int) -> float:
        if before is None or after is None:
            return 0.0
        busy = after.busy_s[core] - before.busy_s[core]
        return busy + after.steal_s[core] - before.steal_s[core]

    return sorted(os.sched_getaffinity(0), key=lambda core: (busy_s(core), -core))[:count]


def check_threads(threads: int) -> None:
    """Check that this process may use that many cores.

    Raises:
        ValueError: There are fewer cores, or `threads` is below 1.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if not 1 <= threads <= cores:
        raise ValueError(
            f"threads: {threads} is not between 1 and {cores}, the number of available cores"
        )
