"""Compare how onnxruntime and llama.cpp rank models, and our runner with a plain llama-bench call.

    python benchmarks/runtimes.py [--models 12] [--seconds 4] [--llama-bench PATH]

Times random hybrids of convolutions and attention at int4 (Q4_0 in llama.cpp) on one pinned core,
each interleaved with LFM2-350M in the same runtime. Then LFM2-350M is timed alternately by our
runner and by a plain call of llama-bench. The last line is one JSON document.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau, spearmanr

from evaluators.speed.built_model import build_and_load
from hardware.environment import read_environment
from hardware.llama_cpp import LlamaCppRunner
from hardware.local import STEADY_HEAP, LocalRunner
from hardware.measurement import Workload, parse_workload
from hardware.quiet import measuring
from hardware.runner import LoadedModel, Runner
from hardware.stability import TimingBudget, measure_paired
from hardware.window_statistics import ratio
from search_space.architecture import Architecture, Attention, Layer, ShortConv
from search_space.costs import parameter_counts
from search_space.llama_cpp.gguf_file import write_gguf
from search_space.preset_models import preset

DECODE, PREFILL = WORKLOADS = parse_workload("tg32@256"), parse_workload("pp128")
CAPACITY = 288
REFERENCE = "lfm2-350m"
ROUNDS = 5
REPETITIONS = 3  # of a direct call of llama-bench


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A model with the ratios of its times to those of the reference in the same runtime."""

    layout: str
    width: int
    parameters: int
    onnxruntime: Mapping[str, float]
    llama_cpp: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The agreement of two runtimes about one workload.

    Attributes:
        spearman: Spearman's rank correlation of their times.
        kendall: Kendall's rank correlation of their times.
        spread: Coefficient of variation of llama.cpp's ratios divided by onnxruntime's.
        lowest: The lowest of these quotients.
        highest: The highest of these quotients.
    """

    spearman: float
    kendall: float
    spread: float
    lowest: float
    highest: float


def random_hybrid(generator: np.random.Generator) -> Architecture:
    """Return a hybrid of 58 to 743 million parameters, made of mixers that both runtimes have."""
    while True:
        width, depth = 64 * int(generator.choice([8, 12, 16, 20, 24])), generator.integers(6, 25)
        attention = Attention(heads=width // 64, kv_heads=4, head_dim=64)
        attends = generator.random(depth) < generator.uniform(0.1, 0.8)
        feed_forward_width = 256 * round(width * generator.uniform(2, 5) / 256)
        architecture = Architecture(
            vocab_size=int(generator.choice([32_768, 65_536])),
            width=width,
            embedding_width=width,
            layers=tuple(
                Layer(
                    mixer=attention if attend else ShortConv(kernel=3),
                    feed_forward_width=feed_forward_width,
                )
                for attend in attends
            ),
        )
        total = parameter_counts(architecture).total
        if attends.any() and not attends.all() and 58e6 <= total <= 743e6:
            return architecture


def ratios(
    runner: Runner, architecture: Architecture, reference: LoadedModel, seconds: float
) -> dict[str, float]:
    """Return the ratio of each workload's time to that of the reference."""
    timing_budgets = [TimingBudget(workload=workload, seconds=seconds) for workload in WORKLOADS]
    with build_and_load(runner, architecture, "int4", CAPACITY) as model:
        measurements = measure_paired(model, reference, timing_budgets, lambda _: None)
    return {str(each.workload): ratio(each).value for each in measurements}


def agreement(results: list[Result], workload: Workload) -> Agreement:
    ours = np.array([result.onnxruntime[str(workload)] for result in results])
    theirs = np.array([result.llama_cpp[str(workload)] for result in results])
    between = theirs / ours
    return Agreement(
        spearman=float(spearmanr(ours, theirs).statistic),
        kendall=float(kendalltau(ours, theirs).statistic),
        spread=float(between.std(ddof=1) / between.mean()),
        lowest=float(between.min()),
        highest=float(between.max()),
    )


def direct_call_ns(program: Path, model: Path, core: int, workload: Workload) -> float:
    """Call llama-bench once; return its median time per token or per prompt, in ns.

    Its weights lie in huge pages, like ours; in small pages a token takes some per cent longer.
    """
    tokens = str(workload.tokens)
    prompt, text = ("0", tokens) if workload.phase == "decode" else (tokens, "0")
    command = ["taskset", "-c", str(core), program, "-m", model, "-t", "1", "-o", "json"]
    command += ["-p", prompt, "-n", text, "-d", str(workload.depth), "-r", str(REPETITIONS)]
    environment = os.environ | STEADY_HEAP
    answer = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    samples_ns: list[int] = json.loads(answer)[0]["samples_ns"]
    at_once = workload.tokens if workload.phase == "decode" else 1
    return statistics.median(samples_ns) / at_once


def ratios_to_direct_calls(runner: LlamaCppRunner, folder: Path) -> dict[str, float]:
    """Return our time divided by that of a direct call, by workload: the median of the rounds."""
    model = write_gguf(
        preset(REFERENCE), folder / "model.gguf", quantization="int4", context_length=CAPACITY
    )
    found = {}
    with runner.load(model, CAPACITY) as ours:
        (core,) = ours.loading.cores
        for workload in WORKLOADS:
            samples = REPETITIONS * (workload.tokens if workload.phase == "decode" else 1)
            ours.time(workload, 1)  # warm-up
            rounds = []
            for _ in range(ROUNDS):
                before = ours.time(workload, samples).samples_ns
                direct_ns = direct_call_ns(runner.program, model, core, workload)
                after = ours.time(workload, samples).samples_ns
                rounds.append(statistics.median(before + after) / direct_ns)
            found[str(workload)] = statistics.median(rounds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="time limit for each workload of a model"
    )
    parser.add_argument("--llama-bench", type=Path)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    onnxruntime, llama_cpp = LocalRunner(), LlamaCppRunner(options.llama_bench)
    results = []
    with (
        measuring(print, patience_s=0.0),
        build_and_load(onnxruntime, preset(REFERENCE), "int4", CAPACITY) as onnx_reference,
        build_and_load(llama_cpp, preset(REFERENCE), "int4", CAPACITY) as gguf_reference,
    ):
        print(f"{'ratios to ' + REFERENCE:44}{'onnxruntime':>20}{'llama.cpp':>20}")
        print(f"{'layout':24}{'width':>8}{'million':>12}{f'{DECODE}   {PREFILL}':>20}", end="")
        print(f"{f'{DECODE}   {PREFILL}':>20}")
        for _ in range(options.models):
            architecture = random_hybrid(generator)
            result = Result(
                layout=architecture.layout,
                width=architecture.width,
                parameters=parameter_counts(architecture).total,
                onnxruntime=ratios(onnxruntime, architecture, onnx_reference, options.seconds),
                llama_cpp=ratios(llama_cpp, architecture, gguf_reference, options.seconds),
            )
            results.append(result)
            print(f"{result.layout:24}{result.width:8}{result.parameters / 1e6:12.0f}", end="")
            for times in (result.onnxruntime, result.llama_cpp):
                print(f"{times[str(DECODE)]:10.3f}{times[str(PREFILL)]:10.3f}", end="", flush=True)
            print()
    agreements = {str(workload): agreement(results, workload) for workload in WORKLOADS}
    for name, found in agreements.items():
        print(
            f"{name}: Spearman {found.spearman:.3f}, Kendall {found.kendall:.3f}; "
            f"llama.cpp's ratio divided by onnxruntime's varies by {100 * found.spread:.1f} %, "
            f"{found.lowest:.2f} to {found.highest:.2f}"
        )
    with (
        measuring(print, patience_s=0.0),
        tempfile.TemporaryDirectory(prefix="nas-") as folder,
    ):
        direct = ratios_to_direct_calls(llama_cpp, Path(folder))
    for name, quotient in direct.items():
        print(f"{name} of {REFERENCE}: our time divided by that of a direct call {quotient:.3f}")
    document = {
        "environment": asdict(read_environment(llama_cpp.version)),
        "models": [asdict(result) for result in results],
        "agreement": {name: asdict(found) for name, found in agreements.items()},
        "through_us_over_by_hand": direct,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
