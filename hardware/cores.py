"""The cores of this machine that measuring processes run on."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

from hardware.core_use import observe_cores

# Returns that many cores to measure on.
ChooseCores: TypeAlias = Callable[[int], list[int]]

# Moving is worthwhile if it gains more than this fraction of one core's time.
_WORTH_MOVING = 0.3


def idlest_cores(count: int) -> list[int]:
    """Return the idlest cores that this process may use, ties going to higher numbers (Linux)."""
    busy = _busy_shares() or dict.fromkeys(os.sched_getaffinity(0), 0.0)
    return sorted(busy, key=lambda core: (busy[core], -core))[:count]


def calmer_cores(current: Sequence[int]) -> list[int] | None:
    """Return the idlest cores, as many as the current ones, if these are much busier (Linux).

    It observes the cores for 0.2 s, during which nothing may be measured.

    Args:
        current: The cores that are measured on.

    Returns:
        The cores; None if moving would gain little, if no thread is pinned, or if the system does
        not count the time of its cores.
    """
    busy = _busy_shares()
    if busy is None or not current:
        return None
    calmest = sorted(busy, key=lambda core: (busy[core], -core))[: len(current)]
    gain = sum(busy.get(core, 0.0) for core in current) - sum(busy[core] for core in calmest)
    return calmest if gain > _WORTH_MOVING else None


def _busy_shares() -> dict[int, float] | None:
    """Observe for 0.2 s which fraction of each available core's time is used or stolen.

    Returns None if the system does not count the time of its cores.
    """
    used = observe_cores()
    return None if used is None else {core: use.busy + use.steal for core, use in used.items()}


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def check_threads(threads: int) -> None:
    """Check that this process may use that many cores.

    Raises:
        ValueError: There are fewer cores, or `threads` is below 1.
    """
    cores = available_cores()
    if not 1 <= threads <= cores:
        raise ValueError(
            f"threads: {threads} is not between 1 and {cores}, the number of available cores"
        )
