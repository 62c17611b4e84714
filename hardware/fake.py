"""A runner that simulates a device: times are computed from the model file and never change."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hardware.environment import Environment
from hardware.measurement import Workload
from hardware.runner import (
    DeviceSnapshot,
    LoadedModel,
    Loading,
    ModelFormat,
    RunnerError,
    Window,
    declared_weight_bytes,
)

_NOISE = 0.01
_ENVIRONMENT = Environment(
    host="fake",
    system="fake",
    cpu="fake",
    cores=1,
    memory_bytes=1 << 30,
    python="fake",
    runtime_version="fake",
    governor=None,
    clock_mhz=None,
    temperature_c=None,
    load_1min=None,
)


class FakeRunner:
    """A simulated device for tests and for trying out a study file.

    The runtime is called `fake`, so that no result can be mistaken for a measurement. A model's
    time grows with the number of weight bytes that its description declares and with the depth.
    """

    fingerprint = "fake"
    model_format: ModelFormat = "onnx"
    memory_step_bytes = 0

    @contextmanager
    def load(self, model: Path, capacity: int) -> Iterator[LoadedModel]:
        """See `Runner.load`."""
        yield _FakeModel(model, capacity)


class _FakeModel:
    def __init__(self, model: Path, capacity: int) -> None:
        self._kilobytes = declared_weight_bytes(model) // 1000
        self._capacity = capacity
        content = model.read_bytes()
        self._seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "little")
        self._windows: Counter[Workload] = Counter()
        self.loading = Loading(
            runtime="fake",
            threads=1,
            cores=(),
            load_ns=1000 * self._kilobytes,
            model_bytes=len(content) + 1000 * self._kilobytes,
            empty_memory_bytes=1_000_000,
            loaded_memory_bytes=1_000_000 + 1000 * self._kilobytes,
        )

    def time(self, workload: Workload, samples: int) -> Window:
        if workload.tokens + workload.depth > self._capacity:
            raise RunnerError("refused", f"{workload} exceeds the capacity of {self._capacity}")
        at_once = workload.tokens if workload.phase == "prefill" else 1
        nanoseconds = 100 * at_once * (self._kilobytes + workload.depth)
        generator = np.random.default_rng((self._seed, workload.depth, self._windows[workload]))
        self._windows[workload] += 1
        drawn = nanoseconds * (1 + _NOISE * generator.standard_normal(samples))
        return Window(
            samples_ns=tuple(drawn.round().astype(int).tolist()),
            waited_ns=(0,) * samples,
            peak_memory_bytes=self.loading.loaded_memory_bytes + 1000 * workload.depth,
        )

    def move(self, cores: Sequence[int]) -> None:
        """Do nothing: the simulated device has no cores to choose from."""

    def calmer_cores(self) -> None:
        """Return nothing: the simulated device has no other programs."""

    def snapshot(self) -> DeviceSnapshot:
        return DeviceSnapshot(environment=_ENVIRONMENT, counters=None)
