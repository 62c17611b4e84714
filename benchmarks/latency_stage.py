"""Measure the time and memory of the latency stage for one candidate, from building to timing.

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
from hardware.measurement import parse_workload
from search_space.architecture import Architecture
from search_space.onnx_graph import GraphQuantization
from search_space.onnx_model import write_onnx
from search_space.preset_models import PRESETS, preset

_PROMPT, _TEXT = parse_workload("pp512"), parse_workload("tg64@1024")
_PROMPTS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
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
    print(f"{'':36}{'median':>10}{'least':>10}{'most':>10}   of {len(runs)}")
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"{name:36}{np.median(values):10.2f}{min(values):10.2f}{max(values):10.2f}")


def _stage(architecture: Architecture, quantization: GraphQuantization) -> dict[str, float]:
    """Run the stage once and return its figures by name and unit."""
    runner = LocalRunner()
    capacity = _TEXT.depth + _TEXT.tokens
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        start = time.perf_counter()
        model = write_onnx(
            architecture, Path(folder), quantization=quantization, context_length=capacity
        )
        built = time.perf_counter()
        with runner.load(model, capacity) as loaded:
            ready = time.perf_counter()
            prompts = loaded.time(_PROMPT, _PROMPTS)
            text = loaded.time(_TEXT, _TEXT.tokens)
            end = time.perf_counter()
    loading = loaded.loading
    load_s, timed_s = loading.load_ns / 1e9, sum(prompts.samples_ns + text.samples_ns) / 1e9
    return {
        "model file built, s": built - start,
        "cores chosen, process started, s": ready - built - load_s,
        "weights drawn and loaded, s": load_s,
        "overhead of the windows, s": end - ready - timed_s,
        "memory before loading, MB": loading.empty_memory_bytes / 1e6,
        "memory of the loaded model, MB": loading.loaded_memory_bytes / 1e6,
        "peak memory, MB": max(prompts.peak_memory_bytes, text.peak_memory_bytes) / 1e6,
        f"{_PROMPT}, ms per prompt": float(np.median(prompts.samples_ns)) / 1e6,
        f"{_TEXT}, ms per token": float(np.median(text.samples_ns)) / 1e6,
    }


if __name__ == "__main__":
    main()
