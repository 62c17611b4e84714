"""What was timed and what came out: a workload, and its raw samples with their evidence."""

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
    """A prompt of `tokens` read at once, or `tokens` written one by one, behind `depth` tokens."""

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
    """`pp512` or `tg128@1024`, as llama-bench writes them; ValueError for anything else."""
    match = _WORKLOAD.fullmatch(text)
    if match is None:
        raise ValueError(
            f"workload: '{text}' is not ppN (prefill), tgN (decode) or either @DEPTH, "
            "such as pp512 or tg128@1024"
        )
    return Workload(
        phase="prefill" if match["phase"] == "pp" else "decode",
        tokens=int(match["tokens"]),
        depth=int(match["depth"] or 0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What others did on the machine while something was timed.

    steal: the share of the measuring cores' time that the hypervisor took.
    beside: the share of the measuring cores' time that other processes used.
    elsewhere: what other processes used of the other cores, in cores: 1.5 is one and a half.
    waited_s: how long the measurement had waited for quiet before it began.
    """

    steal: float
    beside: float
    elsewhere: float
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One workload of one model on one device; memory is resident memory of the measuring process.

    cores: the cores that threads were pinned to; empty where the system pins none.
    samples_ns: every counted sample in order; one a prompt in prefill, one a token in decode.
    window: how many samples follow each other before the reference has its turn; None where all do.
    warmup_ns: the samples before them, which are not counted.
    load_ns: from an empty process to a model that is ready, weights included.
    peak_memory_bytes: the most during this workload.
    empty_memory_bytes, loaded_memory_bytes: before the model was loaded, and once it was.
    model_bytes: the size of the model's files.
    environment, environment_after: around the samples.
    reference: the model that was timed in alternation; its window i stands beside ours.

    What an earlier release did not record is None.
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
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """As a share of what lies between, by logarithms; what a precision is compared with."""
        return math.log(self.high / self.low) / 2


def window_quantiles_ns(measurement: Measurement, quantile: float) -> NDArray[np.float64]:
    """Of each window, in order, the sample below which a fraction `quantile` of its samples lie."""
    windows = np.reshape(measurement.samples_ns, (-1, measurement.window or 1))
    quantiles: NDArray[np.float64] = np.quantile(windows, quantile, axis=1)
    return quantiles


def undisturbed_ms(measurement: Measurement, quantile: float) -> float:
    """The quantile of a window's samples, in ms, in a good window.

    Of four windows one is better: what others do now and then is not the model's.
    """
    return float(np.quantile(window_quantiles_ns(measurement, quantile), 0.25)) / 1e6


def quantile_ms(measurement: Measurement, quantile: float) -> float:
    """The sample below which a fraction `quantile` of the samples lie, in ms."""
    return float(np.quantile(np.asarray(measurement.samples_ns), quantile)) / 1e6
