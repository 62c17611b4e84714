"""Record the timing noise of two copies of a model whose windows are interleaved.

    python benchmarks/record_noise.py FOLDER CONDITION [--preset lfm2-350m]
        [--workload tg64@1024] [--loads 10] [--pairs 60] [--busy-neighbour]

The tests of intervals sample from these series. A window lasts about 0.1 s, or one prompt; 21
evenly spaced quantiles of its samples are stored. Both processes are started again for each load,
because the placement of the weights in memory changes a model's time.
"""

import argparse
import contextlib
import datetime
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.local import LocalRunner
from hardware.measurement import Workload, parse_workload
from hardware.quiet import measuring
from hardware.runner import LoadedModel
from search_space.architecture import Architecture, Attention, Layer, ShortConv
from search_space.onnx_model import write_onnx
from search_space.preset_models import PRESETS, preset

_WINDOW_NS = 1e8
_QUANTILES = np.linspace(0, 1, 21)
_BURN = (
    "import numpy as np; a = np.ones(1 << 23)\nwhile True: a += 1.0"  # keeps the memory busy, too
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("condition", help="one word for the other load on the machine")
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        metavar="NAME",
        help="default: a model of 20 million parameters",
    )
    parser.add_argument("--workload", type=parse_workload, default=parse_workload("tg64@1024"))
    parser.add_argument("--loads", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument(
        "--busy-neighbour", action="store_true", help="keep another core and the memory busy"
    )
    arguments = parser.parse_args()
    architecture = preset(arguments.preset) if arguments.preset else _small()
    workload, name = arguments.workload, arguments.preset or "small"
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        capacity = workload.depth + workload.tokens
        one, other = (write_model(architecture, Path(folder) / name, capacity) for name in "ab")
        with (
            measuring(print, patience_s=0.0),
            busy_neighbour() if arguments.busy_neighbour else contextlib.nullcontext(),
        ):
            series = []
            for load in range(arguments.loads):
                runner = LocalRunner(threads=1)
                with runner.load(one, capacity) as first, runner.load(other, capacity) as second:
                    environment = first.snapshot().environment
                    series.append(_record((first, second), workload, arguments.pairs))
                print(f"load {load}: {_summary(series[-1])}, 1-min load {environment.load_1min}")
    condition = arguments.condition
    about = (
        f"{name} int4, {workload}, {condition}; {environment.cpu}, {environment.cores} cores, "
        f"{environment.runtime_version}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}; "
        "quantiles_ns[load, pair, process, quantile]"
    )
    path = arguments.folder / f"{name}-{workload.phase}-{condition}.npz"
    np.savez_compressed(path, about=about, quantiles_ns=np.array(series))
    print(f"{path}: {about}, {path.stat().st_size / 1e3:.0f} kB")


def write_model(architecture: Architecture, folder: Path, capacity: int) -> Path:
    """Write the model into a new folder; copies in different folders share no memory."""
    folder.mkdir()
    return write_onnx(architecture, folder, quantization="int4", context_length=capacity)


@contextlib.contextmanager
def busy_neighbour() -> Iterator[None]:
    """Run a process that keeps a core and the memory busy."""
    with subprocess.Popen([sys.executable, "-c", _BURN]) as process:
        try:
            yield
        finally:
            process.kill()


def _small() -> Architecture:
    """Return a model of about 20 million parameters, as in the quickstart study."""
    attention, convolution = Attention(heads=6, kv_heads=2, head_dim=64), ShortConv(kernel=3)
    return Architecture(
        vocab_size=16_384,
        width=384,
        embedding_width=384,
        layers=tuple(
            Layer(mixer=attention if letter == "a" else convolution, feed_forward_width=1_152)
            for letter in "ccaccacc"
        ),
    )


def _record(
    models: tuple[LoadedModel, LoadedModel], workload: Workload, pairs: int
) -> NDArray[np.int64]:
    """Return quantiles in ns, of shape (pair, process, quantile)."""
    for model in models:
        warm = model.time(workload, 1 if workload.phase == "prefill" else 8).samples_ns
    samples = max(1, min(round(_WINDOW_NS / np.median(warm)), 1_000))
    if workload.phase == "decode":
        samples = min(samples, workload.tokens)
    series = []
    for pair in range(pairs):
        order = (0, 1) if pair % 2 == 0 else (1, 0)
        windows = {index: models[index].time(workload, samples).samples_ns for index in order}
        series.append([np.quantile(windows[index], _QUANTILES) for index in (0, 1)])
    return np.array(series, dtype=np.int64)


def _summary(quantiles_ns: NDArray[np.int64]) -> str:
    medians = np.median(quantiles_ns, axis=2)
    ratios = medians[:, 0] / medians[:, 1]
    return (
        f"{np.median(medians) / 1e6:.3f} ms, spread {medians.std() / medians.mean():.1%}, "
        f"ratio {np.median(ratios):.4f} with a spread of {ratios.std():.2%}"
    )


if __name__ == "__main__":
    main()
