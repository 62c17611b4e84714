"""The interface to devices: load a model file and time it window by window."""

import json
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from hardware.environment import CpuCounters, Environment
from hardware.measurement import Workload

ModelFormat: TypeAlias = Literal["onnx", "gguf"]
RunnerErrorKind: TypeAlias = Literal[
    "out of memory", "refused", "crashed", "timed out", "killed", "lost"
]

# How often a measurement is repeated because its process was killed from outside.
MOST_KILLS = 2


class RunnerError(Exception):
    """A model could not be measured.

    Attributes:
        kind: `out of memory`; `refused` if its description is missing, there is no room for its
            weights, or the measuring program ended with an error; `crashed` if something else ended
            the program; `timed out` if it did not answer; `killed` if someone else ended the
            program, so that this says nothing about the model; `lost` if the device cannot be
            reached.
        reason: The last output of the measuring program, as a message to the user.
    """

    def __init__(self, kind: RunnerErrorKind, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind: RunnerErrorKind = kind
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Consecutive samples of one workload.

    Attributes:
        samples_ns: The wall time of the samples in order, in ns.
        waited_ns: The part of each sample in which the model waited for a core, in ns; None where
            the system does not report it.
        peak_memory_bytes: Peak resident memory of the measuring process during the window.
        clock_mhz: The clock frequency of the slowest core of the model at the end of the window;
            None where the system does not report it.
    """

    samples_ns: tuple[int, ...]
    waited_ns: tuple[int, ...] | None
    peak_memory_bytes: int
    clock_mhz: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How a model was loaded; see `Measurement` for the fields."""

    runtime: str
    threads: int
    cores: tuple[int, ...]
    load_ns: int
    model_bytes: int
    empty_memory_bytes: int
    loaded_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSnapshot:
    """The state of a device at one moment; `counters` is None if the system has none."""

    environment: Environment
    counters: CpuCounters | None


class LoadedModel(Protocol):
    """A model that is ready on a device, in a process of its own.

    After a RunnerError, every further call raises the same error: load the model again.
    """

    @property
    def loading(self) -> Loading:
        """How the model was loaded."""
        ...

    def time(self, workload: Workload, samples: int) -> Window:
        """Time consecutive samples of a workload.

        Args:
            workload: The workload. Its tokens and depth together must not exceed the capacity.
            samples: Number of prompts to read, or of tokens to generate at the depth.

        Raises:
            RunnerError: The model cannot be measured.
        """
        ...

    def move(self, cores: Sequence[int]) -> None:
        """Move to other cores. Models that the same runner loads later run there, too.

        Args:
            cores: As many cores as the model has threads.

        Raises:
            RunnerError: The measuring process no longer answers.
        """
        ...

    def calmer_cores(self) -> Sequence[int] | None:
        """Return cores that are much less busy than those of the model, or None if none are.

        The device is observed for a moment, in which none of its models may be timed.

        Raises:
            RunnerError: The measuring process no longer answers.
        """
        ...

    def snapshot(self) -> DeviceSnapshot:
        """Return the state of the device now.

        Raises:
            RunnerError: The measuring process no longer answers.
        """
        ...


class Runner(Protocol):
    """Loads model files on one device, as many at a time as fit into its memory.

    Example:
        >>> runner = LocalRunner(threads=1)
        >>> with runner.load(Path("model.onnx"), capacity=1024) as model:
        ...     window = model.time(parse_workload("tg64@512"), samples=10)

    Every implementation must pass `tests/hardware/conformance.py`.
    """

    @property
    def fingerprint(self) -> str:
        """A text that changes whenever the same file could take a different time.

        It covers the device, the runtime and its version, and the number of threads.
        """
        ...

    @property
    def model_format(self) -> ModelFormat:
        """The kind of file that it loads."""
        ...

    @property
    def memory_step_bytes(self) -> int:
        """The step in which resident memory grows, in bytes; it is known only to within one step.

        A heap of huge pages grows by whole pages, and where it begins differs between loads.
        """
        ...

    def load(self, model: Path, capacity: int) -> AbstractContextManager[LoadedModel]:
        """Load a model for workloads of at most `capacity` tokens.

        The model is unloaded when the context ends. No process and no file is left behind, even
        after an interrupt. All models of one runner run on the same cores.

        Args:
            model: The model file, of the runner's format, with its description next to it.
            capacity: The most tokens, depth included, that its caches must hold.

        Raises:
            RunnerError: The model cannot be loaded.
        """
        ...


def declared_weight_bytes(model: Path) -> int:
    """Return the size of the weights that a model's description declares.

    Raises:
        RunnerError: There is no valid description next to the model.
    """
    return _described(model, lambda description: int(description["data_bytes"]))


def declared_state_bytes(model: Path, capacity: int) -> int:
    """Return the size of the float32 states that a session for `capacity` tokens keeps.

    A state that is not updated in place needs two buffers.

    Raises:
        RunnerError: There is no valid description next to the model.
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
