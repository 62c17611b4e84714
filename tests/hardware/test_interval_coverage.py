"""Confidence intervals of a ratio have their nominal coverage under recorded noise."""

import math
from pathlib import Path

import numpy as np

from hardware.measurement import Measurement, Workload
from hardware.runner import DeviceSnapshot, Window
from hardware.stability import TimingBudget, measure_paired
from hardware.window_statistics import ratio
from tests.hardware.clocks import DECODE, ENVIRONMENT, LOADING, PREFILL, Clock

NOISE = sorted((Path(__file__).parent / "noise").glob("*.npz"))
TRUE_RATIO = 1.3
RUNS = 120  # per condition
MAX_PAIRS = 400


class Player:
    """A model that replays recorded quantiles (pair, quantile) of windows.

    The first windows serve as warm-ups, too. Within a window, the samples are in random order,
    because the order was not recorded and estimates use only the second half.
    """

    loading = LOADING

    def __init__(
        self, clock: Clock, quantiles_ns: np.ndarray, generator: np.random.Generator
    ) -> None:
        self.clock = clock
        self.quantiles_ns = quantiles_ns
        self.position = 0
        self.generator = generator

    def time(self, workload: Workload, samples: int) -> Window:
        quantiles_ns = self.quantiles_ns[self.position]
        fractions = (np.arange(samples) + 0.5) / samples
        samples_ns = np.interp(fractions, np.linspace(0, 1, len(quantiles_ns)), quantiles_ns)
        self.generator.shuffle(samples_ns)
        self.position += 1
        self.clock.now_ns += samples_ns.sum()
        return Window(
            samples_ns=tuple(samples_ns.round().astype(int)), waited_ns=None, peak_memory_bytes=1
        )

    def snapshot(self) -> DeviceSnapshot:
        self.position = 0
        return DeviceSnapshot(environment=ENVIRONMENT, counters=None)


def playback(clock: Clock, path: Path, generator: np.random.Generator) -> Measurement:
    """Measure two models of a known ratio under recorded noise, for at most 10 s.

    The constant difference between the two recorded processes of one model is removed, because the
    interval does not cover it. Which of the two is the candidate is drawn for every block.
    """
    load = generator.choice(np.load(path)["quantiles_ns"])
    medians = np.log(np.median(load, axis=2))
    difference = np.median(medians[:, 0] - medians[:, 1])
    load = load * np.exp([-difference / 2, difference / 2])[:, None]
    block = len(load) // 4  # consecutive pairs stay together, so that lasting disturbances are kept
    starts = generator.integers(len(load) - block + 1, size=MAX_PAIRS // block)
    orders = generator.choice([-1, 1], size=len(starts))
    pairs = np.concatenate(
        [load[start : start + block, ::order] for start, order in zip(starts, orders, strict=True)]
    )
    workload = PREFILL if "prefill" in path.name else DECODE
    timing_budget = TimingBudget(workload=workload, seconds=10)
    (measurement,) = measure_paired(
        Player(clock, pairs[:, 0] * TRUE_RATIO, generator),
        Player(clock, pairs[:, 1], generator),
        [timing_budget],
        lambda _: None,
    )
    return measurement


def covers(low: float, high: float) -> bool:
    return low <= TRUE_RATIO <= high


def naive_interval_covers(measurement: Measurement) -> bool:
    """Check a normal interval that treats all samples as independent."""
    ours, theirs = np.log(measurement.samples_ns), np.log(measurement.reference.samples_ns)
    middle = ours.mean() - theirs.mean()
    margin = 1.96 * math.sqrt(ours.var() / len(ours) + theirs.var() / len(theirs))
    return covers(math.exp(middle - margin), math.exp(middle + margin))


def test_it_is_95_percent(clock):
    """Check the coverage with the actual stopping rule."""
    generator = np.random.default_rng(0)
    covered, naive = {}, []
    for path in NOISE:
        measurements = [playback(clock, path, generator) for _ in range(RUNS)]
        known = [ratio(measurement) for measurement in measurements]
        covered[path.stem] = np.mean([covers(one.low, one.high) for one in known])
        naive += map(naive_interval_covers, measurements)
    # The standard error is 0.75 % over all conditions, and 2 % for each of them.
    assert 0.93 <= np.mean(list(covered.values())) <= 0.97, covered
    assert min(covered.values()) > 0.89, covered
    assert np.mean(naive) < 0.9
