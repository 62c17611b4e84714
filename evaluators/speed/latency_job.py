"""The measurement of a model on a named device as a job, which another process carries out.

So several devices measure at the same time, next to the trainings of this machine. The process of
the job keeps the connection and the reference model for the next one.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from evaluators.calibration import CalibrationsInMemory
from evaluators.evaluator import Evaluation, EvaluationFailed, Progress, Report
from evaluators.speed.built_model import evaluation_failure
from evaluators.speed.device_file import DeviceDefinition, remote_runner_of
from evaluators.speed.latency import LatencyEvaluator, Quiet
from evaluators.speed.latency_settings import LatencySettings
from evaluators.speed.quiet_device import reserving
from hardware.quiet import Reservation
from hardware.remote.remote_runner import RemoteRunner
from hardware.runner import RunnerError
from search_space.architecture import Architecture

_LONGEST_PAUSE_S = 20.0  # between two attempts to connect again


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTiming:
    """A device, and what is timed on it.

    Attributes:
        definition: The device.
        settings: The workloads.
        reference: The architecture of the reference model.
    """

    definition: DeviceDefinition
    settings: LatencySettings
    reference: Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyJob:
    """The measurement of an architecture on a device; its result has no scores.

    Attributes:
        timing: The device, and what is timed on it.
        identity: The identity of the device; another one of the same name is not measured on.
        architecture: The architecture.
    """

    timing: DeviceTiming
    identity: str
    architecture: Architecture

    def run(self, report: Report) -> Evaluation:
        """Measure the architecture; see `Job.run`."""
        return measured_again_if_lost(
            lambda: _kept_latency(self.timing, self.identity).measure(self.architecture, report),
            report,
            self.timing.definition.patience_s,
        )


def measured_again_if_lost(
    measure: Callable[[], Evaluation],
    report: Report,
    patience_s: float = 0.0,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Evaluation:
    """Call a function that measures, and again if the connection to the device was lost.

    The first time, this happens at once, and then in growing intervals.

    Args:
        measure: Measures on a device; it connects again after a loss.
        report: Receives what happened.
        patience_s: Seconds after the first loss in which the device may come back.
        clock: Measures the time, in seconds.
        sleep: Waits for that many seconds.

    Raises:
        EvaluationFailed: The measurement failed, or the device did not come back.
    """
    lost_at: float | None = None
    pause_s = 0.0
    while True:
        try:
            return measure()
        except EvaluationFailed as failure:
            if failure.kind != "device lost":
                raise
            now = clock()
            left_s = patience_s if lost_at is None else lost_at + patience_s - now
            if lost_at is not None and left_s <= 0:
                raise
            lost_at = now if lost_at is None else lost_at
            text = f"{failure.reason}; connecting again"
            if pause_s:
                text += f" in {pause_s:g} s, for up to {left_s:.0f} s"
            report(Progress(done=0.0, text=text))
            sleep(pause_s)
            pause_s = min(max(1.0, 2 * pause_s), _LONGEST_PAUSE_S)


def device_quiet(runner: RemoteRunner, timing: DeviceTiming) -> Quiet:
    """Return a `Quiet` that reserves a device; a simulated one needs no quiet.

    Args:
        runner: The device.
        timing: What is timed on it.
    """
    settings, definition = timing.settings, timing.definition
    if definition.is_simulated:
        return lambda _: contextlib.nullcontext(Reservation(waited_s=0.0))
    return reserving(runner, settings.seconds, settings.lock_wait, definition.cool)


# What the process of the jobs keeps for the next job: the latest evaluator, by what it times.
_kept: dict[DeviceTiming, LatencyEvaluator] = {}


def _kept_latency(timing: DeviceTiming, identity: str) -> LatencyEvaluator:
    if timing not in _kept:
        for evaluator in _kept.values():
            evaluator.close()
        _kept.clear()
        runner = remote_runner_of(timing.definition)
        try:
            found = runner.identity.id
            if found != identity:
                runner.close()
                reason = f"this is another device than before ({found} instead of {identity})"
                raise EvaluationFailed("device lost", reason)
            _kept[timing] = LatencyEvaluator(
                runner,
                timing.settings,
                timing.reference,
                CalibrationsInMemory(),
                device_quiet(runner, timing),
            )
        except RunnerError as error:
            raise evaluation_failure(error) from error
    return _kept[timing]
