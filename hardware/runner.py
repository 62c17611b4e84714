"""The seam to devices: a model file and workloads in, measurements out."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from hardware.measurement import Measurement, Workload

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


class Runner(Protocol):
    """Measures model files on one device, one after the other.

    fingerprint: changes whenever the same file could take another time: the device, the runtime and
        its version, threads, and how long is measured.
    """

    @property
    def fingerprint(self) -> str: ...

    def measure(self, model: Path, workloads: Sequence[Workload]) -> tuple[Measurement, ...]:
        """One measurement a workload, in order, by one fresh process that loads the model once.

        Raises RunnerError; leaves no process and no file behind, also when it is interrupted.
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
