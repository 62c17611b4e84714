"""The cores of this machine that measuring processes run on."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from hardware.environment import read_counters

# Returns that many cores to measure on.
ChooseCores: TypeAlias = Callable[[int], list[int]]

_CHOICE_SECONDS = 0.2
# Of a core's time.
_WORTH_MOVING = 0.3


def idlest_cores(count: int) -> list[int]:
    """Return the idlest cores that this process may use, ties going to higher numbers (Linux)."""
    busy = _busy_shares() or dict.fromkeys(os.sched_getaffinity(0), 0.0)
    return sorted(busy, key=lambda core: (busy[core], -core))[:count]


def calmer_cores(current: Sequence[int]) -> list[int] | None:
    """Return as many other cores that are much less busy than some of these (Linux).

    Call it while nothing is measured.

    Args:
        current: The cores that are measured on.

    Returns:
        The cores, or None if the current ones are among the calmest.
    """
    busy = _busy_shares()
    if busy is None or not current:
        return None
    calmest = sorted(busy, key=lambda core: (busy[core], -core))[: len(current)]
    gain = sum(busy.get(core, 0.0) for core in current) - sum(busy[core] for core in calmest)
    return calmest if gain > _WORTH_MOVING else None


def _busy_shares() -> dict[int, float] | None:
    """Observe, for 0.2 s, which fraction of each available core's time is used or stolen."""
    before = read_counters()
    time.sleep(_CHOICE_SECONDS)
    after = read_counters()
    if before is None or after is None:
        return None
    seconds = (after.at_ns - before.at_ns) / 1e9
    return {
        core: (
            after.busy_s[core] - before.busy_s[core] + after.steal_s[core] - before.steal_s[core]
        )
        / seconds
        for core in os.sched_getaffinity(0)
    }


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
