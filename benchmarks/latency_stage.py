"""What the latency stage of one candidate takes, from an Architecture to its measurements.

python benchmarks/latency_stage.py [--preset lfm2-350m] [--quantization int4] [--repetitions 5]
"""

import argparse
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from hardware.environment import read_environment
from hardware.local import LocalRunner
from hardware.measurement import parse_workload, quantile_ms
from search_space.architecture import Architecture
from search_space.onnx_graph import GraphQuantization
from search_space.onnx_model import write_onnx
from search_space.presets import PRESETS, preset

_PROMPT, _TEXT = parse_workload("pp512"), parse_workload("tg64@1024")


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the latency stage of one candidate.")
    parser.add_argument("--preset", default="lfm2-350m", choices=PRESETS, metavar="NAME")
    parser.add_argument("--quantization", default="int4", choices=["fp32", "int8", "int4"])
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    architecture = preset(arguments.preset)
    runs = [_stage(architecture, arguments.quantization) for _ in range(arguments.repetitions)]
    environment = read_environment(f"onnxruntime {version('onnxruntime')}")
    print(f"{arguments.preset} {arguments.quantization}, {_PROMPT} and {_TEXT}, one thread")
    print(
        f"{environment.cpu}, {environment.cores} cores, {environment.system}, "
        f"{environment.runtime_version}, load {environment.load_1min}"
    )
    print(f"{'':32}{'median':>10}{'least':>10}{'most':>10}   of {len(runs)}")
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"{name:32}{np.median(values):10.2f}{min(values):10.2f}{max(values):10.2f}")


def _stage(architecture: Architecture, quantization: GraphQuantization) -> dict[str, float]:
    """Every figure by its name and unit."""
    runner = LocalRunner()
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        start = time.perf_counter()
        model = write_onnx(
            architecture,
            Path(folder),
            quantization=quantization,
            context_length=_TEXT.depth + _TEXT.tokens,
        )
        built = time.perf_counter()
        prefill, decode = runner.measure(model, (_PROMPT, _TEXT))
        end = time.perf_counter()
    return {
        "model file built, s": built - start,
        "weights drawn and loaded, s": decode.load_ns / 1e9,
        "the whole latency stage, s": end - start,
        "peak memory, MB": max(prefill.peak_memory_bytes, decode.peak_memory_bytes) / 1e6,
        f"{_PROMPT}, ms a prompt": quantile_ms(prefill, 0.5),
        f"{_TEXT}, ms a token": quantile_ms(decode, 0.5),
    }


if __name__ == "__main__":
    main()
