"""The device on which models are timed: this machine, or one of the user's file of devices."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evaluators.speed.device_file import remote_runner_of
from evaluators.speed.quiet_device import reserving
from evaluators.speed.runners import make_runner
from hardware.cores import idlest_cores
from hardware.machine_lock import LockWait
from hardware.progress import Say
from hardware.quiet import Reservation, Reserve
from hardware.runner import ModelFormat, Runner
from nas.inputs.device_argument import NamedDevice
from nas.inputs.model_argument import Measurable
from nas.workflows.timing_conditions import REAL_RUNNERS, Conditions, format_of


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuringDevice:
    """A device on which models are timed.

    Attributes:
        runners: Its runners, by the format of the files that they load.
        reserve: Reserves it for a measurement; None reserves this machine.
    """

    runners: Mapping[ModelFormat, Runner]
    reserve: Reserve | None = None


@contextlib.contextmanager
def open_device(
    device: NamedDevice | None, conditions: Conditions, models: Sequence[Measurable]
) -> Iterator[MeasuringDevice]:
    """Yield a device that can load models until the context ends.

    Args:
        device: The device; None is this machine.
        conditions: How the models are measured.
        models: The models; only runners that these need are constructed.

    Raises:
        ValueError: This machine lacks cores or a program.
    """
    if device is not None:
        with remote_runner_of(device.definition) as runner:

            def reserve(
                say: Say, *, patience_s: float, lock_wait: LockWait
            ) -> contextlib.AbstractContextManager[Reservation]:
                return reserving(runner, patience_s, lock_wait, device.definition.cool)(say)

            yield MeasuringDevice(runners={runner.model_format: runner}, reserve=reserve)
        return
    cores = functools.cache(idlest_cores)  # both runtimes use the same cores
    formats = {format_of(model, conditions) for model in models}
    yield MeasuringDevice(
        runners={
            definition.model_format: make_runner(
                definition.kind, threads=conditions.threads, choose_cores=cores
            )
            for definition in REAL_RUNNERS.values()
            if definition.model_format in formats
        }
    )
