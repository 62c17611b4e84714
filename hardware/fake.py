"""A runner that measures nothing: times follow from the model file, and are always the same."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hardware.environment import Environment
from hardware.measurement import Measurement, Workload
from hardware.runner import declared_weight_bytes

_PROMPTS = 20


class FakeRunner:
    """For tests and for trying a study file out: says so in the runtime's name, `fake`.

    A model's time grows with the bytes that its description declares, and with the depth.
    """

    @property
    def fingerprint(self) -> str:
        return "fake"

    def measure(self, model: Path, workloads: Sequence[Workload]) -> tuple[Measurement, ...]:
        digest = hashlib.sha256(model.read_bytes()).digest()
        generator = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        kilobytes = declared_weight_bytes(model) // 1000
        return tuple(_measurement(workload, kilobytes, generator) for workload in workloads)


def _measurement(workload: Workload, kilobytes: int, generator: np.random.Generator) -> Measurement:
    at_once = workload.tokens if workload.phase == "prefill" else 1
    nanoseconds = at_once * (kilobytes * 100 + workload.depth * 100)
    count = workload.tokens if workload.phase == "decode" else _PROMPTS
    samples = nanoseconds * (1 + 0.05 * generator.random(count))
    return Measurement(
        workload=workload,
        runtime="fake",
        threads=1,
        cores=(),
        samples_ns=tuple(int(sample) for sample in samples),
        warmup_ns=(),
        load_ns=kilobytes * 1000,
        peak_memory_bytes=kilobytes * 1_500,
        environment=Environment(
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
        ),
    )
