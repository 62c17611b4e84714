"""A runner for tests, on which the time of a model is the sum of its parts, with noise."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hardware.environment import Environment
from hardware.measurement import Workload
from hardware.progress import Say
from hardware.quiet import Reservation
from hardware.runner import DeviceSnapshot, LoadedModel, Loading, RunnerError, Window

_NS_A_WEIGHT_BYTE = 10.0
_NS_A_CACHED_VALUE = 40.0


@dataclass
class PartsRunner:
    """Simulates a time per byte of weights and per cached value of attention.

    Attributes:
        noise: Standard deviation between samples, of the logarithm.
        loading: Standard deviation between processes, of the logarithm.
        lost: An operator that needs more memory than is available.
        patience: Number of windows after which Ctrl-C is pressed.
        loads: Number of models that have been loaded.
    """

    noise: float = 0.01
    loading: float = 0.01
    lost: str = ""
    patience: float = np.inf
    fingerprint: str = "parts"
    model_format: str = "onnx"
    loads: int = 0
    windows: int = 0
    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @contextlib.contextmanager
    def load(self, model: Path, capacity: int) -> Iterator[LoadedModel]:
        self.loads += 1
        description = json.loads(model.with_name("model.json").read_text())
        if self.lost and self.lost.encode() in model.read_bytes():
            raise RunnerError("out of memory", "40.0 GB are needed, 8.0 GB are free")
        yield _Model(self, description)


class _Model:
    def __init__(self, runner: PartsRunner, description: dict[str, Any]) -> None:
        self._runner = runner
        self._description = description
        self._process = np.exp(runner.loading * runner.generator.standard_normal())
        self.loading = Loading(
            runtime="parts",
            threads=1,
            cores=(),
            load_ns=1,
            model_bytes=description["data_bytes"],
            empty_memory_bytes=1,
            loaded_memory_bytes=2,
        )

    def time(self, workload: Workload, samples: int) -> Window:
        self._runner.windows += 1
        if self._runner.windows > self._runner.patience:
            raise KeyboardInterrupt
        mean = true_ns(self._description, workload)
        off = self._runner.noise * self._runner.generator.standard_normal(samples)
        drawn = mean * self._process * np.exp(off)
        return Window(samples_ns=tuple(map(int, drawn)), waited_ns=None, peak_memory_bytes=3)

    def move(self, cores: Sequence[int]) -> None:
        raise AssertionError("nothing waits on this device")

    def calmer_cores(self) -> None:
        raise AssertionError("nothing waits on this device")

    def snapshot(self) -> DeviceSnapshot:
        environment = Environment(
            host="parts",
            system="parts",
            cpu="parts",
            cores=1,
            memory_bytes=1 << 40,
            python="",
            runtime_version="",
            governor=None,
            clock_mhz=None,
            temperature_c=None,
            load_1min=None,
        )
        return DeviceSnapshot(environment=environment, counters=None)


def true_ns(description: dict[str, Any], workload: Workload) -> float:
    """Return the time of the described model without noise."""
    shapes = [state["shape"] for state in description["states"] if state["in_place"]]
    cached = sum(
        heads * size * min(workload.depth, rows or workload.depth)
        for _, heads, rows, size in shapes
    )
    tokens = workload.tokens if workload.phase == "prefill" else 1
    weights = _NS_A_WEIGHT_BYTE * description["data_bytes"]
    return tokens * (weights + _NS_A_CACHED_VALUE * cached)


@contextlib.contextmanager
def at_once(say: Say) -> Iterator[Reservation]:
    """Do not wait, because nothing is measured."""
    yield Reservation(waited_s=0.0)
