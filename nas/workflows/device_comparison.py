"""Time the same models on several devices, one device after the other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nas.inputs.device_argument import NamedDevice
from nas.inputs.model_argument import Measurable
from nas.workflows.comparison import Comparison
from nas.workflows.model_timing import measure_models
from nas.workflows.timing_conditions import Conditions
from nas.workflows.work_progress import WorkListener, WorkProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuringTask:
    """A device, and how models are measured there.

    Attributes:
        device: The device; None is this machine.
        conditions: How models are measured.
    """

    device: NamedDevice | None
    conditions: Conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceComparison:
    """The measurements of several models on one device; None is this machine."""

    device: NamedDevice | None
    comparison: Comparison


def measure_on_devices(
    models: Sequence[Measurable],
    against: Measurable | None,
    tasks: Sequence[MeasuringTask],
    listener: WorkListener,
) -> tuple[DeviceComparison, ...]:
    """Measure models on each device; see `measure_models`.

    Args:
        models: The models.
        against: The reference model; None takes the first of `models` that can be measured.
        tasks: The devices.
        listener: Receives the progress; an item is a model on a device.

    Raises:
        MachineOccupied: Another process keeps a device, and `conditions` demand to stop.
        ValueError: A device lacks cores or a program.
    """
    found: list[DeviceComparison] = []
    for task in tasks:
        name = "" if task.device is None else task.device.name

        def listen(progress: WorkProgress, name: str = name, earlier: int = len(found)) -> None:
            listener(
                replace(
                    progress,
                    subject=": ".join(filter(None, (name, progress.subject))),
                    done=progress.done + earlier * progress.total,
                    total=progress.total * len(tasks),
                )
            )

        comparison = measure_models(models, against, task.conditions, listen, task.device)
        found.append(DeviceComparison(device=task.device, comparison=comparison))
    return tuple(found)
