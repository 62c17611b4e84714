"""Workloads, and the raw samples that timing them produced, with their evidence."""

import math
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hardware.environment import Environment

Phase: TypeAlias = Literal["prefill", "decode"]

_WORKLOAD = re.compile(r"(?P<phase>pp|tg)(?P<tokens>[1-9]\d{0,6})(?:@(?P<depth>\d{1,7}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What a model is timed at.

    Attributes:
        phase: `prefill` reads a prompt at once; `decode` generates tokens one by one.
        tokens: Length of the prompt, or number of tokens to generate.
        depth: Tokens of context that are in the caches before the first one.
    """

    phase: Phase
    tokens: int
    depth: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.tokens < 10_000_000:
            raise ValueError(f"tokens: {self.tokens} is not between 1 and 9,999,999")
        if not 0 <= self.depth < 10_000_000:
            raise ValueError(f"depth: {self.depth} is not between 0 and 9,999,999")

    def __str__(self) -> str:
        letters = "pp" if self.phase == "prefill" else "tg"
        return f"{letters}{self.tokens}" + (f"@{self.depth}" if self.depth else "")


def parse_workload(text: str) -> Workload:
    """Parse a workload as llama-bench writes it: `pp512` or `tg128@1024`.

    Raises:
        ValueError: The text is anything else.
    """
    match = _WORKLOAD.fullmatch(text)
    if match is None:
        raise ValueError(
            f"workload: '{text}' is not ppN (prefill) or tgN (decode), optionally followed by "
            "@DEPTH, such as pp512 or tg128@1024"
        )
    return Workload(
        phase="prefill" if match["phase"] == "pp" else "decode",
        tokens=int(match["tokens"]),
        depth=int(match["depth"] or 0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """Load from other processes on the machine during a measurement.

    Attributes:
        steal: Fraction of the measuring cores' time that the hypervisor took.
        beside: Fraction of the measuring cores' time that other processes used.
        elsewhere: Number of other cores that other processes kept busy, as a fraction such as 1.5.
        waited_s: Seconds that the measurement waited for a quiet machine before it began.
    """

    steal: float
    beside: float
    elsewhere: float
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One workload of one model, timed on one device.

    Memory is the resident memory of the measuring process. Fields that an earlier release did not
    record are None.

    Attributes:
        workload: What was timed.
        runtime: Name of the runtime.
        threads: Threads that the model computed with.
        cores: Cores that the threads were pinned to; empty where the system pins none.
        samples_ns: Every counted sample in order: one per prompt in prefill, one per token in
            decode.
        warmup_ns: The samples before them, which do not count.
        load_ns: Time from an empty process to a model that is ready, weights included.
        peak_memory_bytes: The peak during this workload.
        environment: The machine before the samples.
        window: Number of consecutive samples between two turns of the reference model; None where
            the samples were not interrupted.
        empty_memory_bytes: Memory before the model was loaded.
        loaded_memory_bytes: Memory once the model was loaded.
        model_bytes: Size of the model's files.
        environment_after: The machine after the samples.
        disturbance: Load from other processes; None where the system has no counters.
        reference: The measurement of the reference model that was interleaved; its window i
            was taken next to window i of this one.
    """

    workload: Workload
    runtime: str
    threads: int
    cores: tuple[int, ...]
    samples_ns: tuple[int, ...]
    warmup_ns: tuple[int, ...]
    load_ns: int
    peak_memory_bytes: int
    environment: Environment
    window: int | None = None
    empty_memory_bytes: int | None = None
    loaded_memory_bytes: int | None = None
    model_bytes: int | None = None
    environment_after: Environment | None = None
    disturbance: Disturbance | None = None
    reference: "Measurement | None" = None

    def __post_init__(self) -> None:
        if not self.samples_ns:
            raise ValueError(f"samples_ns: {self.workload} has no sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A 95 % confidence interval of a positive quantity."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval's width, as a fraction of the value (on a log scale)."""
        return math.log(self.high / self.low) / 2


def window_quantiles_ns(measurement: Measurement, quantile: float) -> NDArray[np.float64]:
    """Return the quantile of each window's samples, in ns, in the order of the windows."""
    windows = np.reshape(measurement.samples_ns, (-1, measurement.window or 1))
    quantiles: NDArray[np.float64] = np.quantile(windows, quantile, axis=1)
    return quantiles


def undisturbed_ms(measurement: Measurement, quantile: float) -> float:
    """Estimate the quantile of a window's samples without load from other processes, in ms.

    The estimate is the lower quartile over windows: occasional load slows some of them, and that
    time is not the model's.
    """
    return float(np.quantile(window_quantiles_ns(measurement, quantile), 0.25)) / 1e6


def quantile_ms(measurement: Measurement, quantile: float) -> float:
    """Return the quantile of all samples, in ms."""
    return float(np.quantile(np.asarray(measurement.samples_ns), quantile)) / 1e6
