"""Measure the wall time and peak memory of `nas export`, each export in a process of its own.

python benchmarks/exporting.py [--model lfm2-350m] [--repetitions 3]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hardware.environment import read_environment
from nas.exporters.formats import FORMATS, Format
from nas.inputs.model_argument import find_model
from search_space.costs import parameter_counts

_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The measurements of one format; peak_share: peak memory over the size of the fp32 weights."""

    file_format: str
    seconds: tuple[float, ...]
    peak_bytes: int
    peak_share: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="lfm2-350m")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    machine = read_environment("")
    weights = parameter_counts(find_model(options.model, None).architecture).total * _FLOAT_BYTES
    print(f"{machine.cpu}, {machine.cores} cores, load {machine.load_1min}; {options.model}")
    rows = [measure(options.model, each, options.repetitions, weights) for each in Format]
    print(f"{'format':8} {'median s':>9} {'worst s':>9} {'peak MB':>9} {'of fp32':>9}")
    for row in rows:
        print(
            f"{row.file_format:8} {statistics.median(row.seconds):9.2f} {max(row.seconds):9.2f} "
            f"{row.peak_bytes / 1e6:9,.0f} {row.peak_share:9.2f}"
        )
    print(json.dumps({"machine": asdict(machine), "rows": [asdict(row) for row in rows]}))


def measure(model: str, file_format: Format, repetitions: int, weight_bytes: int) -> Row:
    seconds, peaks = [], []
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as folder:
            command = ["export", model, "--format", file_format, "-o", str(Path(folder) / "out")]
            if FORMATS[Format(file_format)].has_weights:
                command += ["--weights", "random"]
            start = time.perf_counter()
            peaks.append(_peak_bytes([sys.executable, "-m", "nas.cli", *command]))
            seconds.append(time.perf_counter() - start)
    return Row(
        file_format=file_format,
        seconds=tuple(seconds),
        peak_bytes=max(peaks),
        peak_share=max(peaks) / weight_bytes,
    )


def _peak_bytes(command: Sequence[str]) -> int:
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
