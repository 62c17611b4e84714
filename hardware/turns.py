"""The windows of one model at one workload, taken in turns with those of another."""

import math
import time
from collections.abc import Sequence

import numpy as np

from hardware.measurement import Disturbance, Measurement, Workload, running_ns, warm
from hardware.runner import DeviceSnapshot, LoadedModel, Window

_WINDOW_NS = 1e8
# In decoding, the caches hold another model's weights at the beginning of a window; see `warm`.
_FEWEST_DECODED = 24
_LONGEST_WARMING_NS = 2e8
# A window has as many samples as if the model did not wait, but not for longer than this allows.
_LEAST_RUNNING = 0.1
_OVERHEADS = 2.0  # a window lasts at least that many times the runner's own overhead
_PROBE_TOKENS = 8
_LONG_PROBE_NS = 5e8
# Windows at a clock frequency below this fraction of the highest one are discarded.
_LEAST_CLOCK = 0.95


class Turns:
    """The windows of one model at one workload.

    Attributes:
        model: The model.
        workload: The workload.
        windows: The windows that count, in chronological order.
        warmup: The windows before them.
        log_times: The logarithm of each window's quantile, in ns.
    """

    def __init__(self, model: LoadedModel, workload: Workload, quantile: float) -> None:
        """Warm the model up, and choose how long a window is.

        Args:
            model: The loaded model.
            workload: What is timed.
            quantile: The quantile of each window's samples.

        Raises:
            RunnerError: The model cannot be measured.
        """
        self.model = model
        self.workload = workload
        self._quantile = quantile
        self.windows: list[Window] = []
        self.log_times: list[float] = []
        self._samples = 1 if workload.phase == "prefill" else min(_PROBE_TOKENS, workload.tokens)
        self.warmup = [self._warm_up()]
        if sum(self.warmup[0].samples_ns) < _LONG_PROBE_NS:  # a cold one may mislead
            self.warmup.append(self._warm_up())

    def take(self) -> None:
        """Take a window."""
        window = self.model.time(self.workload, self._samples)
        running = warm(running_ns(window.samples_ns, window.waited_ns))
        self.windows.append(window)
        self.log_times.append(math.log(np.quantile(running, self._quantile)))

    def begin_again(self) -> None:
        """Discard the windows so far: their conditions are not those of the following ones."""
        self.windows.clear()
        self.log_times.clear()

    @property
    def waiting_share(self) -> float:
        """The fraction of the windows' time in which the model waited for a core."""
        waited_ns = sum(sum(window.waited_ns or ()) for window in self.windows)
        return waited_ns / sum(sum(window.samples_ns) for window in self.windows)

    def is_throttled(self, index: int) -> bool:
        """Return whether a window was taken at a lower clock frequency than others."""
        clocks = [window.clock_mhz for window in self.windows]
        known = [clock for clock in clocks if clock is not None]
        clock = clocks[index]
        return clock is not None and clock < _LEAST_CLOCK * max(known)

    def measurement(
        self,
        kept: Sequence[int],
        before: DeviceSnapshot,
        after: DeviceSnapshot,
        disturbance: Disturbance | None,
    ) -> Measurement:
        """Return the measurement by the windows with these numbers."""
        loading = self.model.loading
        windows = [self.windows[index] for index in kept]
        return Measurement(
            workload=self.workload,
            runtime=loading.runtime,
            threads=loading.threads,
            cores=loading.cores,
            samples_ns=_samples_ns(windows),
            warmup_ns=_samples_ns(self.warmup),
            load_ns=loading.load_ns,
            peak_memory_bytes=max(
                window.peak_memory_bytes for window in (*self.warmup, *self.windows)
            ),
            environment=before.environment,
            window=self._samples,
            empty_memory_bytes=loading.empty_memory_bytes,
            loaded_memory_bytes=loading.loaded_memory_bytes,
            model_bytes=loading.model_bytes,
            environment_after=after.environment,
            disturbance=disturbance,
            waited_ns=_waited_ns(windows),
            measured_at=time.time(),
        )

    def _warm_up(self) -> Window:
        """Take a window that does not count, and choose the size of the next one from it."""
        start = time.perf_counter_ns()
        window = self.model.time(self.workload, self._samples)
        overhead_ns = time.perf_counter_ns() - start - sum(window.samples_ns)
        running = np.median(running_ns(window.samples_ns, window.waited_ns))
        sample_ns = max(float(running), _LEAST_RUNNING * float(np.median(window.samples_ns)))
        wanted_ns = max(_WINDOW_NS, _OVERHEADS * overhead_ns)
        if self.workload.phase == "decode":
            wanted_ns = max(wanted_ns, min(_FEWEST_DECODED * sample_ns, _LONGEST_WARMING_NS))
        self._samples = max(1, round(wanted_ns / sample_ns))
        return window


def _samples_ns(windows: Sequence[Window]) -> tuple[int, ...]:
    return tuple(sample for window in windows for sample in window.samples_ns)


def _waited_ns(windows: Sequence[Window]) -> tuple[int, ...] | None:
    waits = [window.waited_ns for window in windows]
    if any(waited_ns is None for waited_ns in waits):
        return None
    return tuple(waited for waited_ns in waits if waited_ns is not None for waited in waited_ns)
