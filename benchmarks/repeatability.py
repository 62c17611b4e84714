"""Measure how repeatable a latency is, for one model and for two models of a known ratio.

    python benchmarks/repeatability.py [--preset lfm2-350m] [--other lfm2.5-230m]
        [--workload tg64@1024] [--measurements 12] [--seconds 20] [--long 120]

The model is loaded again for each measurement and timed interleaved with a reference: a copy of it
that stays loaded. This is done with and without another process that keeps a core and the memory
busy. Then the ratio of the model to the other model is measured, in measurements of the same length
and in long ones. The last line is one JSON document, with ratios and fractions of 1.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from record_noise import busy_neighbour, write_model

from hardware.environment import read_environment
from hardware.local import LocalRunner
from hardware.measurement import Measurement, Workload, parse_workload, quantile_ms
from hardware.quiet import measuring
from hardware.stability import TimingBudget, measure_paired
from hardware.window_statistics import ratio
from search_space.preset_models import PRESETS, preset

_KNOWN_MEASUREMENTS = 4
_LONG_LOADS = 4  # each load places the weights differently; the true ratio is their mean
_UNREACHABLE = 1e-6  # with this precision, sampling continues until the time limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """Repeated measurements of one model.

    Attributes:
        paired: Coefficient of variation of the ratio to the reference.
        unpaired: Coefficient of variation of the median time.
        median_seconds: Median duration of a measurement.
        ratios: The ratios.
        milliseconds: The median times.
    """

    paired: float
    unpaired: float
    median_seconds: float
    ratios: list[float]
    milliseconds: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The ratio of two models from long measurements, and the ratios from short ones."""

    long: float
    short: list[float]
    worst_error: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="lfm2-350m", choices=PRESETS, metavar="NAME")
    parser.add_argument("--other", default="lfm2.5-230m", choices=PRESETS, metavar="NAME")
    parser.add_argument("--workload", type=parse_workload, default=parse_workload("tg64@1024"))
    parser.add_argument("--measurements", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=20.0, help="time limit of one measurement")
    parser.add_argument(
        "--long", type=float, default=120.0, help="seconds of the long measurements together"
    )
    arguments = parser.parse_args()
    workload: Workload = arguments.workload
    capacity = workload.depth + workload.tokens
    timing_budget = TimingBudget(workload=workload, seconds=arguments.seconds)
    long_budget = TimingBudget(
        workload=workload, precision=_UNREACHABLE, seconds=arguments.long / _LONG_LOADS
    )
    with tempfile.TemporaryDirectory(prefix="nas-") as temporary:
        folder = Path(temporary)
        model, copy = (
            write_model(preset(arguments.preset), folder / name, capacity)
            for name in ("model", "copy")
        )
        other = write_model(preset(arguments.other), folder / "other", capacity)
        repeated = {}
        for condition in ("alone", "neighbour"):
            with busy_neighbour() if condition == "neighbour" else contextlib.nullcontext():
                repeated[condition] = _repeat(model, copy, timing_budget, arguments.measurements)
        long = _ratios(_measure(model, other, long_budget, _LONG_LOADS))
        short = _ratios(_measure(model, other, timing_budget, _KNOWN_MEASUREMENTS))
    true = float(np.exp(np.mean(np.log(long))))
    known = Known(long=true, short=short, worst_error=max(abs(value / true - 1) for value in short))
    _print(arguments, repeated, known)


def _repeat(model: Path, reference: Path, timing_budget: TimingBudget, count: int) -> Repeated:
    start = time.monotonic()
    seconds, measurements = [], []
    for measurement in _measure(model, reference, timing_budget, count):
        measurements.append(measurement)
        seconds.append(time.monotonic() - start)
    ratios = _ratios(measurements)
    milliseconds = [quantile_ms(measurement, 0.5) for measurement in measurements]
    return Repeated(
        paired=_variation(ratios),
        unpaired=_variation(milliseconds),
        median_seconds=float(np.median(np.diff([0.0, *seconds]))),
        ratios=ratios,
        milliseconds=milliseconds,
    )


def _measure(
    model: Path, reference: Path, timing_budget: TimingBudget, count: int
) -> Iterator[Measurement]:
    """Load and measure the model `count` times, paired with one process of the reference."""
    runner = LocalRunner()
    capacity = timing_budget.workload.depth + timing_budget.workload.tokens
    with measuring(_show, patience_s=0.0), runner.load(reference, capacity) as steady:
        for _ in range(count):
            with runner.load(model, capacity) as loaded:
                (measurement,) = measure_paired(loaded, steady, [timing_budget], _show)
            yield measurement


def _show(sentence: str) -> None:
    print(f"\r{sentence}", end="\033[K", file=sys.stderr, flush=True)


def _ratios(measurements: Iterable[Measurement]) -> list[float]:
    return [ratio(measurement).value for measurement in measurements]


def _variation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.mean(values))


def _print(arguments: argparse.Namespace, repeated: dict[str, Repeated], known: Known) -> None:
    environment = read_environment(f"onnxruntime {version('onnxruntime')}")
    _show("")
    print(
        f"{arguments.preset} int4, {arguments.workload}, one thread, {arguments.measurements} "
        f"measurements of at most {arguments.seconds:g} s"
    )
    print(
        f"{environment.cpu}, {environment.cores} cores, {environment.system}, "
        f"{environment.runtime_version}, load {environment.load_1min}"
    )
    print(f"{'coefficient of variation':28}{'paired':>9}{'unpaired':>10}{'seconds each':>14}")
    for condition, found in repeated.items():
        print(
            f"{condition:28}{found.paired:>9.2%}{found.unpaired:>10.2%}{found.median_seconds:14.1f}"
        )
    print(
        f"{arguments.preset} / {arguments.other}: {known.long:.4f} in long runs; short ones "
        f"{min(known.short):.4f} to {max(known.short):.4f}, with an error of at most "
        f"{known.worst_error:.2%}"
    )
    print(
        json.dumps(
            {
                "environment": asdict(environment),
                "repeated": {name: asdict(found) for name, found in repeated.items()},
                "known_ratio": asdict(known),
            }
        )
    )


if __name__ == "__main__":
    main()
