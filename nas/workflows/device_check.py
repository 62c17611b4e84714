"""Check whether a device can measure, and how precisely."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evaluators.calibration import CalibrationsInMemory
from evaluators.evaluator import EvaluationFailed
from evaluators.speed.built_model import build_and_load
from evaluators.speed.calibrated_times import CalibratedTimes
from evaluators.speed.device_file import channel_of, remote_runner_of
from hardware.machine_lock import LockWait
from hardware.measurement import parse_workload
from hardware.progress import Say
from hardware.quiet import MachineOccupied
from hardware.remote.device_state import DeviceState
from hardware.remote.identity import DeviceIdentity
from hardware.remote.remote_runner import RemoteRunner
from hardware.repeatability import RepeatableRatio
from hardware.runner import RunnerError
from hardware.stability import TimingBudget, measure_paired
from nas.inputs.device_argument import NamedDevice
from nas.workflows.work_progress import WorkListener, WorkProgress
from search_space.preset_models import preset

# Loaded in a second, and timed to about one percent in a few.
_MODEL = "hybrid-20m"
_WORKLOAD = parse_workload("tg16@64")
_CAPACITY = 80
_SECONDS = 8.0
_PRECISION = 0.01
_EXCHANGES = 20
_SENT_BYTES = 4_000_000
_LONGEST_WAIT_S = 20.0

EXPECTED_S = 15.0
"""How long the check of a device takes, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCheck:
    """What is known about a device; None and empty where the check did not get that far.

    Attributes:
        device: The device.
        channel: How it is reached, for messages.
        connect_s: Seconds until the agent on the device answered.
        python: The version of Python there.
        identity: What the device is.
        state: Its state, with the installed packages.
        exchange_ms: The median time of a request and its answer, in milliseconds.
        sent_mb_s: How fast it receives files, in MB/s (1e6 bytes).
        runtime: The runtime and its version.
        cores: The cores that a model ran on.
        self_pair: The ratio of the times of two copies of one model, which is 1 apart from errors.
        problems: What prevents or disturbs measurements, as sentences, with what mends it.
    """

    device: NamedDevice
    channel: str
    connect_s: float | None = None
    python: str | None = None
    identity: DeviceIdentity | None = None
    state: DeviceState | None = None
    exchange_ms: float | None = None
    sent_mb_s: float | None = None
    runtime: str | None = None
    cores: tuple[int, ...] = ()
    self_pair: RepeatableRatio | None = None
    problems: tuple[str, ...] = ()

    @property
    def can_measure(self) -> bool:
        """Whether a model was timed."""
        return self.self_pair is not None


def check_devices(
    devices: Sequence[NamedDevice], listener: WorkListener
) -> tuple[DeviceCheck, ...]:
    """Check devices one after the other; what does not work is part of the result.

    Args:
        devices: The devices.
        listener: Receives the progress; an item is a device.
    """
    checks: list[DeviceCheck] = []
    for device in devices:

        def say(text: str, name: str = device.name) -> None:
            listener(WorkProgress(subject=name, text=text, done=len(checks), total=len(devices)))

        checks.append(_check_device(device, say))
    return tuple(checks)


def _check_device(device: NamedDevice, say: Say) -> DeviceCheck:
    check = DeviceCheck(device=device, channel=channel_of(device.definition).name)
    with remote_runner_of(device.definition) as runner:
        for step in (_connect, _examine, _time_exchanges, _time_model):
            try:
                check = step(check, runner, say)
            except (RunnerError, EvaluationFailed) as failure:
                return replace(check, problems=(*check.problems, failure.reason))
            except MachineOccupied as occupied:
                return replace(check, problems=(*check.problems, str(occupied)))
    return check


def _connect(check: DeviceCheck, runner: RemoteRunner, say: Say) -> DeviceCheck:
    say("connecting")
    start = time.monotonic()
    identity = runner.identity
    seconds = time.monotonic() - start
    return replace(check, connect_s=seconds, python=runner.python, identity=identity)


def _examine(check: DeviceCheck, runner: RemoteRunner, say: Say) -> DeviceCheck:
    say("looking at the device")
    state = runner.state()
    needed = () if check.device.definition.runtime == "llama.cpp" else ("onnxruntime",)
    missing = [name for name in ("numpy", *needed) if state.packages.get(name) is None]
    problems = check.problems
    if missing:
        problems = (*problems, _missing(missing, check.device.definition.python))
    return replace(check, state=state, problems=problems)


def _missing(packages: Sequence[str], python: str | None) -> str:
    """Say which packages are missing, and how to install them."""
    names = f"{' and '.join(packages)} {'is' if len(packages) == 1 else 'are'} missing"
    install = f"-m pip install {' '.join(packages)}"
    if python is not None:
        return f"{names}; on the device, run `{python} {install}`"
    # Many systems refuse to install packages for their own Python.
    return (
        f"{names}; on the device, run `python3 -m venv ~/nas && ~/nas/bin/python {install}`, and "
        "set python to '~/nas/bin/python'"
    )


def _time_exchanges(check: DeviceCheck, runner: RemoteRunner, say: Say) -> DeviceCheck:
    say("timing the connection")
    exchange_s = statistics.median(_seconds(runner.exchange) for _ in range(_EXCHANGES))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "probe")
        file.write_bytes(bytes(_SENT_BYTES))
        sent_s = _seconds(lambda: runner.exchange(file))
    return replace(check, exchange_ms=1e3 * exchange_s, sent_mb_s=_SENT_BYTES / 1e6 / sent_s)


def _time_model(check: DeviceCheck, runner: RemoteRunner, say: Say) -> DeviceCheck:
    """Time two copies of a small model, interleaved."""
    if check.problems:
        return check
    budget = TimingBudget(workload=_WORKLOAD, precision=_PRECISION, seconds=_SECONDS)
    wait = LockWait(longest_wait=_LONGEST_WAIT_S, if_occupied="stop")
    with runner.measuring(say, patience_s=_SECONDS, lock_wait=wait):
        say(f"timing {_MODEL} against itself")
        model = preset(_MODEL)
        with (
            build_and_load(runner, model, "int4", _CAPACITY) as one,
            build_and_load(runner, model, "int4", _CAPACITY) as other,
        ):
            (measurement,) = measure_paired(one, other, [budget], say)
    times = CalibratedTimes(CalibrationsInMemory(), device=check.device.name, reference=_MODEL)
    times.add([measurement])
    return replace(
        check,
        runtime=measurement.environment.runtime_version,
        cores=measurement.cores,
        self_pair=times.ratio([measurement]),
    )


def _seconds(act: Callable[[], None]) -> float:
    start = time.monotonic()
    act()
    return time.monotonic() - start
