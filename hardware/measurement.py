"""Workloads, and the raw samples that timing them produced, with their evidence."""

import math
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardware.environment import Environment

Phase: TypeAlias = Literal["prefill", "decode"]

# The 97.5 % quantile of the standard normal distribution: half the width of a 95 % confidence
# interval, in standard errors.
NORMAL_975 = 1.96

# A sample counts as undisturbed if it waited no longer than the larger of these. Reading the clocks
# alone takes a microsecond.
_TOLERATED_NS = 20_000
_TOLERATED_SHARE = 0.005

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
        reserved: Whether the machine was reserved for it. Otherwise, another measurement or a
            training run may have disturbed it.
        throttled: Fraction of the windows that were discarded, because the clock frequency of their
            cores had fallen.
        cooled_s: Seconds that the measurement waited for the device to cool down, which are part of
            `waited_s`.
    """

    steal: float
    beside: float
    elsewhere: float
    waited_s: float = 0.0
    reserved: bool = True
    throttled: float = 0.0
    cooled_s: float = 0.0


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
            decode. Wall time.
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
        waited_ns: The part of each sample in which the model waited for a core that other processes
            or the hypervisor used; None where the system does not report it.
        measured_at: When the samples were taken, in seconds since 1970.
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
    waited_ns: tuple[int, ...] | None = None
    measured_at: float | None = None
    reference: "Measurement | None" = None

    def __post_init__(self) -> None:
        if not self.samples_ns:
            raise ValueError(f"samples_ns: {self.workload} has no sample")
        if self.waited_ns is not None and len(self.waited_ns) != len(self.samples_ns):
            raise ValueError(
                f"waited_ns: {len(self.waited_ns)} values do not belong to "
                f"{len(self.samples_ns)} samples"
            )

    @property
    def waiting_share(self) -> float | None:
        """The fraction of the samples' wall time that was spent waiting for a core."""
        if self.waited_ns is None:
            return None
        return sum(self.waited_ns) / sum(self.samples_ns)

    @property
    def disturbed_share(self) -> float | None:
        """The fraction of samples that waited for a core."""
        if self.waited_ns is None:
            return None
        waits = zip(self.samples_ns, self.waited_ns, strict=True)
        count = sum(
            waited > max(_TOLERATED_NS, _TOLERATED_SHARE * sample) for sample, waited in waits
        )
        return count / len(self.samples_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A 95 % confidence interval of a positive quantity."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval's width, as a fraction of the value (on a log scale)."""
        return math.log(self.high / self.low) / 2

    @property
    def log_error(self) -> float:
        """The standard error of the logarithm of the quantity, which is normally distributed."""
        return self.half_width / NORMAL_975


def running_ns(samples_ns: ArrayLike, waited_ns: ArrayLike | None) -> NDArray[np.float64]:
    """Return the time of samples without the part in which they waited for a core.

    It is at least 1 ns, so that it has a logarithm: one of several threads may have waited for as
    long as a sample took.
    """
    samples = np.asarray(samples_ns, dtype=np.float64)
    if waited_ns is None:
        return samples
    return np.maximum(samples - np.asarray(waited_ns, dtype=np.float64), 1.0)


def warm(running: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the second half of each window; before it, caches still hold another model.

    The weights return to a large shared cache over about ten passes, of which the first may take
    three times as long. In the second half of a window, a model takes as long as on its own.

    Args:
        running: Shape (..., samples of a window).
    """
    return running[..., running.shape[-1] // 2 :]


def window_quantiles_ns(measurement: Measurement, quantile: float) -> NDArray[np.float64]:
    """Return the quantile of each window's warm samples, in ns, in the order of the windows.

    The time that a sample waited for a core does not count.
    """
    running = running_ns(measurement.samples_ns, measurement.waited_ns)
    windows = warm(running.reshape(-1, measurement.window or 1))
    quantiles: NDArray[np.float64] = np.quantile(windows, quantile, axis=1)
    return quantiles


def quantile_ms(measurement: Measurement, quantile: float) -> float:
    """Return the quantile of all warm samples without their waiting time, in ms."""
    running = running_ns(measurement.samples_ns, measurement.waited_ns)
    return float(np.quantile(warm(running.reshape(-1, measurement.window or 1)), quantile)) / 1e6
