"""The cores of this machine that measuring processes run on."""

import os
import sys
import time
from collections.abc import Callable
from typing import TypeAlias

from hardware.environment import read_counters

ChooseCores: TypeAlias = Callable[[int], list[int]]

_CHOICE_SECONDS = 0.2


def idlest_cores(count: int) -> list[int]:
    """Of the cores that we may use, the highest first where they are equal (Linux)."""
    before = read_counters()
    time.sleep(_CHOICE_SECONDS)
    after = read_counters()

    def taken_s(core: int) -> float:
        if before is None or after is None:
            return 0.0
        busy = after.busy_s[core] - before.busy_s[core]
        return busy + after.steal_s[core] - before.steal_s[core]

    return sorted(os.sched_getaffinity(0), key=lambda core: (taken_s(core), -core))[:count]


def check_threads(threads: int) -> None:
    """ValueError for fewer than one and for more than this machine has cores for us."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if not 1 <= threads <= cores:
        raise ValueError(f"threads: {threads} is not between 1 and {cores}, the cores here")
