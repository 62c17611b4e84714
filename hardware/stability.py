"""Time a model in windows interleaved with a reference model until their ratio is precise enough.

On a machine that also does other work, absolute times drift by 10 to 20 %. Whatever slows one
window also slows its neighbour, so the ratio of the two is much steadier. The time in which a model
waited for a core does not count at all.

The intervals here are those of one run of two processes. `hardware.repeatability` adds what other
runs at other times would give.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hardware.measurement import (
    Disturbance,
    Measurement,
    Workload,
)
from hardware.progress import Say
from hardware.runner import DeviceSnapshot, LoadedModel
from hardware.turns import Turns
from hardware.window_statistics import (
    FEWEST_FOR_INTERVAL,
    FEWEST_FOR_RANKS,
    Ratio,
    estimate_logs,
)

# Models that wait for a core for more than this fraction of their time move to a calmer one.
_MUCH_WAITING = 0.2
_FEWEST_BEFORE_MOVE = 2  # windows
_MOST_MOVES = 2
_REPORT_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingBudget:
    """How precisely a workload is to be timed, and how long that may take.

    Attributes:
        workload: What is timed.
        precision: Half the width of the 95 % confidence interval, as a fraction of the value, at
            which sampling ends.
        seconds: Time limit, once there are `fewest` windows.
        fewest: The least number of windows. With fewer than three, there is no interval.
        quantile: The quantile of each window's samples that is estimated; 0.5 is the median.
    """

    workload: Workload
    precision: float = 0.02
    seconds: float = 10.0
    fewest: int = FEWEST_FOR_INTERVAL
    quantile: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.quantile <= 1:
            raise ValueError(f"quantile: {self.quantile} is not between 0 and 1")
        if not 0 < self.precision < 1:
            raise ValueError(f"precision: {self.precision} is not between 0 and 1")
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"seconds: {self.seconds} is not a positive number")
        if self.fewest < 1:
            raise ValueError(f"fewest: {self.fewest} is not at least 1 window")


def measure_alone(
    model: LoadedModel, timing_budgets: Sequence[TimingBudget], say: Say
) -> tuple[Measurement, ...]:
    """Time one model without a reference.

    The precision is that of the time itself, under the assumption that the machine does not drift.

    Args:
        model: The loaded model.
        timing_budgets: What to time. Seconds that one of them does not use go to the next.
        say: Receives a line about the progress every two seconds.

    Returns:
        One measurement per budget, in their order.

    Raises:
        RunnerError: The model cannot be measured.
    """
    return tuple(measurement for (measurement,) in _measure((model,), timing_budgets, say))


def measure_paired(
    model: LoadedModel,
    reference: LoadedModel,
    timing_budgets: Sequence[TimingBudget],
    say: Say,
) -> tuple[Measurement, ...]:
    """Time a model in windows interleaved with those of a reference model.

    The precision is that of the ratio of their times.

    Args:
        model: The loaded model.
        reference: The loaded reference model.
        timing_budgets: What to time. Seconds that one of them does not use go to the next.
        say: Receives a line about the progress every two seconds.

    Returns:
        One measurement per budget, in their order, each with its reference.

    Raises:
        RunnerError: One of the two models cannot be measured.
    """
    return tuple(
        replace(ours, reference=theirs)
        for ours, theirs in _measure((model, reference), timing_budgets, say)
    )


def _measure(
    models: tuple[LoadedModel, ...],
    timing_budgets: Sequence[TimingBudget],
    say: Say,
) -> Iterator[tuple[Measurement, ...]]:
    left_over = 0.0
    for timing_budget in timing_budgets:
        start = time.monotonic()
        seconds = timing_budget.seconds + left_over
        yield _sample(models, replace(timing_budget, seconds=seconds), say)
        left_over = max(0.0, start + seconds - time.monotonic())


def _sample(
    models: tuple[LoadedModel, ...], timing_budget: TimingBudget, say: Say
) -> tuple[Measurement, ...]:
    start = reported_at = time.monotonic()
    turns = [Turns(model, timing_budget.workload, timing_budget.quantile) for model in models]
    # Taken when all models are warm: everything between the two snapshots counts.
    before = [model.snapshot() for model in models]
    sampling, moves, count = time.monotonic(), 0, 0
    while True:
        count += 1
        for turn in turns if count % 2 else reversed(turns):  # ABBA order: linear drift cancels
            turn.take()
        waiting = max(turn.waiting_share for turn in turns)
        if moves < _MOST_MOVES and count >= _FEWEST_BEFORE_MOVE and waiting > _MUCH_WAITING:
            moves += 1
            if _move(models, say):
                for turn in turns:
                    turn.begin_again()
                before = [model.snapshot() for model in models]
                sampling, count = time.monotonic(), 0
                continue
        throttled = _throttled(turns)
        # If each model was fastest in another round, all rounds may be throttled by this measure.
        kept = [index for index in range(count) if index not in throttled] or list(range(count))
        estimate = estimate_logs(_log_times(turns, kept))
        now = time.monotonic()
        precise = len(kept) >= FEWEST_FOR_RANKS and estimate.half_width <= timing_budget.precision
        spent = now + (now - sampling) / count > start + timing_budget.seconds
        ends = precise or (spent and count >= timing_budget.fewest)
        if ends or now > reported_at + _REPORT_SECONDS:
            say(_sentence(turns, estimate))
            reported_at = now
        if ends:
            break
    after = [model.snapshot() for model in models]
    cores = {core for model in models for core in model.loading.cores}
    disturbance = _disturbance(before, after, sorted(cores))
    if throttled:
        undisturbed = Disturbance(steal=0.0, beside=0.0, elsewhere=0.0)
        disturbance = replace(disturbance or undisturbed, throttled=len(throttled) / count)
    return tuple(
        turn.measurement(kept, first, last, disturbance)
        for turn, first, last in zip(turns, before, after, strict=True)
    )


def _move(models: Sequence[LoadedModel], say: Say) -> bool:
    """Move the models to calmer cores, if there are any; return whether they were moved."""
    cores = models[0].calmer_cores()
    if cores is None:
        return False
    now = _named(models[0].loading.cores)
    say(f"other programs are busy; moving from {now} to {_named(cores)}")
    for model in models:
        model.move(cores)
    return True


def _named(cores: Sequence[int]) -> str:
    return f"core{'s' if len(cores) > 1 else ''} {', '.join(map(str, cores))}"


def _throttled(turns: Sequence[Turns]) -> list[int]:
    """Return the numbers of the rounds of windows in which a clock frequency was low."""
    rounds = range(len(turns[0].windows))
    return [index for index in rounds if any(turn.is_throttled(index) for turn in turns)]


def _log_times(turns: Sequence[Turns], kept: Sequence[int]) -> NDArray[np.float64]:
    """Return the log times of one model in some rounds, or the log ratios of two."""
    ours, *reference = (np.array(turn.log_times)[list(kept)] for turn in turns)
    return ours - reference[0] if reference else ours


def _sentence(turns: Sequence[Turns], estimate: Ratio) -> str:
    workload, count, half_width = turns[0].workload, len(turns[0].windows), estimate.half_width
    if len(turns) == 2:
        known = f" ±{estimate.value * half_width:.3f}" if math.isfinite(half_width) else ""
        pairs = "1 pair" if count == 1 else f"{count} pairs"
        return f"{workload}: {pairs}, ratio {estimate.value:.3f}{known}"
    known = f" ±{100 * half_width:.1f} %" if math.isfinite(half_width) else ""
    return f"{workload}: {count} windows, {estimate.value / 1e6:.3f} ms{known}"


def _disturbance(
    before: Sequence[DeviceSnapshot], after: Sequence[DeviceSnapshot], cores: Sequence[int]
) -> Disturbance | None:
    """Compute the load from other processes between the snapshots of the measuring processes.

    Returns None where the system has no counters. Without pinned cores, all cores are measuring
    cores.
    """
    spans = [
        (first.counters, last.counters)
        for first, last in zip(before, after, strict=True)
        if first.counters is not None and last.counters is not None
    ]
    if len(spans) < len(before):
        return None
    own_s = sum(last.own_s - first.own_s for first, last in spans)
    first, last = spans[0]  # each of them covers the whole machine
    elapsed_s = (last.at_ns - first.at_ns) / 1e9
    busy_s = np.subtract(last.busy_s, first.busy_s)
    steal_s = np.subtract(last.steal_s, first.steal_s)
    measuring = np.isin(np.arange(len(busy_s)), cores or range(len(busy_s)))
    measuring_s = elapsed_s * measuring.sum()
    return Disturbance(
        steal=float(steal_s[measuring].sum() / measuring_s),
        # The counters have a resolution of 10 ms, so the difference may come out below 0.
        beside=max(0.0, float((busy_s[measuring].sum() - own_s) / measuring_s)),
        elsewhere=float(busy_s[~measuring].sum() / elapsed_s),
    )
