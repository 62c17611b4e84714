"""The seam to devices: a model file is loaded there, and timed window by window."""

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from hardware.environment import CpuCounters, Environment
from hardware.measurement import Workload

ModelFormat: TypeAlias = Literal["onnx", "gguf"]
RunnerErrorKind: TypeAlias = Literal["out of memory", "refused", "crashed", "timed out"]


class RunnerError(Exception):
    """A model that could not be measured, and the last that was heard of it.

    A model is refused when there is no description of it or no room for its weights, or when the
    measuring program ends with an error of its own; it has crashed when something else ended it.
    """

    def __init__(self, kind: RunnerErrorKind, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind: RunnerErrorKind = kind
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Samples that follow each other, in ns, and the most memory that was resident meanwhile."""

    samples_ns: tuple[int, ...]
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """What loading a model took; the fields are those of a Measurement."""

    runtime: str
    threads: int
    cores: tuple[int, ...]
    load_ns: int
    model_bytes: int
    empty_memory_bytes: int
    loaded_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSnapshot:
    """The device at one moment; no counters where the system keeps none."""

    environment: Environment
    counters: CpuCounters | None


class LoadedModel(Protocol):
    """A model that is ready on a device, in a process of its own."""

    @property
    def loading(self) -> Loading: ...

    def time(self, workload: Workload, samples: int) -> Window:
        """So many prompts read, or tokens written at the workload's depth, one after the other.

        Raises RunnerError, after which the model is of no more use.
        """
        ...

    def snapshot(self) -> DeviceSnapshot:
        """The device now, and the time its processors have spent. Raises RunnerError."""
        ...


class Runner(Protocol):
    """Loads model files on one device, as many at a time as its memory holds.

    fingerprint: changes whenever the same file could take another time: the device, the runtime and
        its version, and threads.
    model_format: what kind of file it takes.
    """

    @property
    def fingerprint(self) -> str: ...
    @property
    def model_format(self) -> ModelFormat: ...

    def load(self, model: Path, capacity: int) -> AbstractContextManager[LoadedModel]:
        """The model, ready for workloads of at most `capacity` tokens, until the context ends.

        Models loaded by one runner run on the same cores. Raises RunnerError; leaves no process and
        no file behind, also when it is interrupted.
        """
        ...


def declared_weight_bytes(model: Path) -> int:
    """The size of the weights' file, from the description beside the model; or RunnerError."""
    return _described(model, lambda description: int(description["data_bytes"]))


def declared_state_bytes(model: Path, capacity: int) -> int:
    """What a session for `capacity` tokens keeps between its runs, in float32; or RunnerError.

    A state that is not updated in place has two buffers.
    """
    return _described(
        model,
        lambda description: sum(
            (4 if state["in_place"] else 8)
            * math.prod(extent or capacity for extent in state["shape"])
            for state in description["states"]
        ),
    )


def _described(model: Path, read: Callable[[Any], int]) -> int:
    path = model.with_name("model.json")
    try:
        return read(json.loads(path.read_text()))
    except (OSError, ValueError, LookupError, TypeError):
        raise RunnerError("refused", f"{path} is not the description of a model") from None
