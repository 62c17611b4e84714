"""Compare timings under load with quiet ones: coverage, errors, and what stays provisional.

    python benchmarks/timing_under_load.py record FILE.jsonl.gz [--repeats 5] [--seconds 10]
        [--loads quiet,cpu,memory-all,mix] [--without-precedence]
    python benchmarks/timing_under_load.py judge FILE.jsonl.gz ...
    python benchmarks/timing_under_load.py draw FILE.jsonl.gz PICTURE.svg [--pair 30m-attention/20m]
        [--load mix] [--workload tg64@256]

`record` measures pairs of models of 4 to 350 million parameters, decoding and prefill, on a machine
that is quiet or under each load of machine_load.py. The second model of a pair stays loaded; the
first is loaded again for every measurement. The raw samples are stored, so that `judge` can apply
the estimates of this or another release to the same recording. The truth is the mean over the quiet
measurements of all files. `draw` shows the windows of the first measurement of a pair under a load:
wall time, and the time without waiting.
"""

import argparse
import gzip
import json
import math
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from chart import Axis, Chart
from machine_load import machine_load
from numpy.typing import NDArray

from evaluators.calibration import Calibration, CalibrationKey, ReferenceTiming, calibrate
from hardware.environment import Environment
from hardware.local import LocalRunner
from hardware.measurement import Disturbance, Measurement, parse_workload, running_ns, warm
from hardware.quiet import measuring
from hardware.repeatability import own_time, repeatable_ratio
from hardware.stability import TimingBudget, measure_paired
from hardware.window_statistics import estimate_logs
from search_space.architecture import Architecture, Attention, Layer, ShortConv
from search_space.onnx_model import write_onnx
from search_space.preset_models import preset

_WORKLOADS = ("tg64@256", "pp128")
_CAPACITY = 320
_CORE = 0
_PRECISION = 0.05
_WITHIN_RUN = 0.5
_EARLIER_PRECISION = 0.02


def hybrid(width: int, layout: str, feed_forward_width: int, vocab_size: int) -> Architecture:
    attention = Attention(heads=width // 64, kv_heads=1, head_dim=64)
    return Architecture(
        vocab_size=vocab_size,
        width=width,
        embedding_width=width,
        layers=tuple(
            Layer(
                mixer=attention if letter == "a" else ShortConv(kernel=3),
                feed_forward_width=feed_forward_width,
            )
            for letter in layout
        ),
    )


MODELS = {
    "4m": hybrid(192, "ccacca", 512, 8_192),
    "7m-attention": hybrid(256, "aaaaaa", 768, 8_192),
    "14m": hybrid(320, "cccaccc", 960, 16_384),
    "20m": preset("hybrid-20m"),
    "30m-attention": hybrid(448, "aaaaaaaaaa", 1_344, 16_384),
    "62m": hybrid(640, "ccaccaccac", 1_920, 16_384),
    "128m": hybrid(768, "ccaccaccaccacc", 2_304, 32_768),
    "230m": preset("lfm2.5-230m"),
    "350m": preset("lfm2-350m"),
}

# The second model is the reference. All but the last are of one size class.
PAIRS = (
    ("4m", "7m-attention"),
    ("14m", "20m"),
    ("30m-attention", "20m"),
    ("62m", "128m"),
    ("128m", "230m"),
    ("350m", "230m"),
    ("230m", "20m"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    actions = parser.add_subparsers(dest="action", required=True)
    recording = actions.add_parser("record")
    recording.add_argument("file", type=Path)
    recording.add_argument("--repeats", type=int, default=5)
    recording.add_argument("--seconds", type=float, default=10.0)
    recording.add_argument("--loads", default="quiet,cpu,memory-all,mix")
    recording.add_argument("--without-precedence", action="store_true")
    judging = actions.add_parser("judge")
    judging.add_argument("files", type=Path, nargs="+")
    judging.add_argument(
        "--earlier",
        action="store_true",
        help="judge the estimates of release 0.1: wall time of whole windows, intervals of one run",
    )
    drawing = actions.add_parser("draw")
    drawing.add_argument("file", type=Path)
    drawing.add_argument("picture", type=Path)
    drawing.add_argument("--pair", default="30m-attention/20m")
    drawing.add_argument("--load", default="mix")
    drawing.add_argument("--workload", default="tg64@256")
    arguments = parser.parse_args()
    if arguments.action == "draw":
        draw(arguments)
        return
    if arguments.action == "judge":
        rows = [row for file in arguments.files for row in read(file)]
        judge(rows, earlier=arguments.earlier)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the loads end, too
    record(arguments)


def record(arguments: argparse.Namespace) -> None:
    loads = arguments.loads.split(",")
    budgets = [
        TimingBudget(
            workload=parse_workload(text),
            precision=_WITHIN_RUN * _PRECISION,
            seconds=arguments.seconds,
        )
        for text in _WORKLOADS
    ]
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        for repeat in range(arguments.repeats):
            pairs = list(PAIRS)
            random.Random(f"{repeat}").shuffle(pairs)
            for pair in pairs:
                runner = LocalRunner(
                    threads=1,
                    choose_cores=lambda _: [_CORE],
                    precedence=not arguments.without_precedence,
                )
                model, reference = (written(name, Path(folder)) for name in pair)
                with runner.load(reference, _CAPACITY) as loaded_reference:
                    for load in random.Random(f"{repeat}{pair}").sample(loads, len(loads)):
                        start = time.monotonic()
                        with (
                            measuring(lambda _: None, patience_s=20.0),
                            machine_load(None if load == "quiet" else load, _CORE),
                            runner.load(model, _CAPACITY) as loaded,
                        ):
                            found = measure_paired(
                                loaded, loaded_reference, budgets, lambda _: None
                            )
                        seconds = time.monotonic() - start
                        with gzip.open(arguments.file, "at") as file:
                            for measurement in found:
                                row = {"pair": pair, "load": load, "seconds": seconds}
                                row["measurement"] = document(measurement)
                                file.write(json.dumps(row) + "\n")
                        print(f"{repeat} {pair} {load}: {seconds:.1f} s", flush=True)


def written(name: str, folder: Path) -> Path:
    place = folder / name
    if place.exists():
        return place / "model.onnx"
    place.mkdir()
    return write_onnx(MODELS[name], place, quantization="int4", context_length=_CAPACITY)


def document(measurement: Measurement) -> dict[str, Any]:
    found = asdict(measurement) | {"workload": str(measurement.workload)}
    if measurement.reference is not None:
        found["reference"] = document(measurement.reference)
    return found


def read(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt") as lines:
        try:
            for line in lines:
                row = json.loads(line)
                row["measurement"] = measurement_of(row["measurement"])
                yield row
        except EOFError:
            print(f"{file} ends within a record", file=sys.stderr)


def measurement_of(found: dict[str, Any]) -> Measurement:
    def or_none(read: Any, value: Any) -> Any:
        return None if value is None else read(value)

    lists = {name: tuple(found[name]) for name in ("cores", "samples_ns", "warmup_ns")}
    return Measurement(
        **found
        | lists
        | {
            "workload": parse_workload(found["workload"]),
            "waited_ns": or_none(tuple, found["waited_ns"]),
            "environment": Environment(**found["environment"]),
            "environment_after": or_none(
                lambda each: Environment(**each), found["environment_after"]
            ),
            "disturbance": or_none(lambda each: Disturbance(**each), found["disturbance"]),
            "reference": or_none(measurement_of, found["reference"]),
        }
    )


def judge(rows: Sequence[dict[str, Any]], *, earlier: bool) -> None:
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row["pair"]), str(row["measurement"].workload)].append(row)
    outcomes: dict[Any, list[tuple[float, float, bool, float]]] = defaultdict(list)
    for (pair, workload), found in sorted(groups.items()):
        quiet = [row for row in found if row["load"] == "quiet"]
        if not quiet:
            continue
        truth = float(np.mean([_log_ratio(row["measurement"]) for row in quiet]))
        calibration = _calibration(quiet, workload)
        print(f"{'/'.join(pair)} {workload}: {math.exp(truth):.4f}")
        for row in found:
            error, half, provisional = (
                judged_earlier(row["measurement"], truth)
                if earlier
                else judged(row["measurement"], truth, calibration)
            )
            load, phase = row["load"], row["measurement"].workload.phase
            outcomes[load, phase].append((error, half, provisional, row["seconds"]))
            outcomes[load, "both"].append((error, half, provisional, row["seconds"]))
            waiting = row["measurement"].waiting_share
            print(
                f"    {load:11} error {100 * error:6.2f} %  ±{100 * half:5.1f} %"
                f" {'provisional' if provisional else '           '}"
                f" {'' if abs(error) <= half else 'MISSED'} waiting {waiting:.2f}"
            )
    print("load        phase     n  covered  worst  provisional  median |error|  seconds")
    for (load, phase), cases in sorted(outcomes.items()):
        settled = [case for case in cases if not case[2]]
        covered = np.mean([abs(e) <= half for e, half, *_ in settled]) if settled else math.nan
        worst = max((abs(case[0]) for case in settled), default=math.nan)
        print(
            f"{load:11} {phase:8} {len(cases):3}  {covered:6.1%}  {worst:6.1%}"
            f"  {1 - len(settled) / len(cases):6.1%}"
            f"  {np.median([abs(case[0]) for case in cases]):8.2%}"
            f"  {np.median([case[3] for case in cases]):6.1f}"
        )


def draw(arguments: argparse.Namespace) -> None:
    found = next(
        row["measurement"]
        for row in read(arguments.file)
        if (row["load"], str(row["measurement"].workload)) == (arguments.load, arguments.workload)
        and "/".join(row["pair"]) == arguments.pair
    )
    series = {
        "model, wall": (_means_ms(found, waiting=True), "#f4a582"),
        "model, running": (_means_ms(found, waiting=False), "#b2182b"),
        "reference, wall": (_means_ms(found.reference, waiting=True), "#92c5de"),
        "reference, running": (_means_ms(found.reference, waiting=False), "#2166ac"),
    }
    every = np.concatenate([means for means, _ in series.values()])
    chart = Chart(
        x_axis=Axis(values=[1, len(found.samples_ns) // found.window], label="window", digits=0),
        y_axis=Axis(values=[0, every.max()], label="ms per pass, mean of the window", digits=1),
    )
    marks = [
        f'<circle cx="{chart.x(index)}" cy="{chart.y(mean)}" r="3" fill="{colour}"/>'
        for means, colour in series.values()
        for index, mean in enumerate(means, 1)
    ]
    colours = {name: colour for name, (_, colour) in series.items()}
    arguments.picture.write_text(chart.svg(marks, colours, f"load: {arguments.load}"))


def _means_ms(measurement: Measurement, *, waiting: bool) -> NDArray[np.float64]:
    """Return the mean time of the warm passes in each window, in ms, with or without waiting."""
    samples_ns = np.asarray(measurement.samples_ns, dtype=np.float64)
    if not waiting:
        samples_ns = running_ns(measurement.samples_ns, measurement.waited_ns)
    means_ns: NDArray[np.float64] = warm(samples_ns.reshape(-1, measurement.window or 1)).mean(1)
    return means_ns / 1e6


def judged(
    measurement: Measurement, truth: float, calibration: Calibration
) -> tuple[float, float, bool]:
    """Return the error of a measurement, half its interval, and whether it is provisional."""
    assert measurement.reference is not None
    slowdown = calibration.slowdown(own_time(measurement.reference).milliseconds)
    estimate = repeatable_ratio([measurement], slowdowns=[slowdown])
    return (
        math.log(estimate.value) - truth,
        estimate.half_width,
        estimate.half_width > _PRECISION,
    )


def judged_earlier(measurement: Measurement, truth: float) -> tuple[float, float, bool]:
    """Return the error, half the interval, and whether release 0.1 would mark it as unsettled."""
    assert measurement.reference is not None
    medians = [
        np.median(np.reshape(each.samples_ns, (-1, each.window or 1)), axis=1)
        for each in (measurement, measurement.reference)
    ]
    estimate = estimate_logs(np.log(medians[0]) - np.log(medians[1]))
    if estimate.low is None or estimate.high is None:
        return math.log(estimate.value) - truth, math.inf, True
    half = math.log(estimate.high / estimate.low) / 2
    return math.log(estimate.value) - truth, half, half > _EARLIER_PRECISION


def _log_ratio(measurement: Measurement) -> float:
    return math.log(repeatable_ratio([measurement], slowdowns=[0.0]).value)


def _calibration(quiet: Sequence[dict[str, Any]], workload: str) -> Calibration:
    timings = []
    for row in quiet:
        own = own_time(row["measurement"].reference)
        timings.append(ReferenceTiming(at=0.0, milliseconds=own.milliseconds, error=own.error))
    return calibrate(CalibrationKey(device="", reference="", workload=workload), timings)


if __name__ == "__main__":
    main()
