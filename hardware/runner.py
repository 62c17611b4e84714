"""The seam to devices: a model file and workloads in, measurements out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from hardware.measurement import Measurement, Workload

RunnerErrorKind: TypeAlias = Literal["out of memory", "refused", "crashed", "timed out"]


class RunnerError(Exception):
    """A model that could not be measured, and the last that was heard of it.

    A model is refused when the measuring program ends with an error of its own; it has crashed when
    something else ended it.
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
    path = model.with_name("model.json")
    try:
        return int(json.loads(path.read_text())["data_bytes"])
    except (OSError, ValueError, LookupError, TypeError):
        raise RunnerError("refused", f"{path} is not the description of a model") from None
