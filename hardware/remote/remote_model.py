"""A model that is loaded on a device, and the requests to the agent there."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from hardware.channels.channel import ChannelError
from hardware.measurement import Workload
from hardware.progress import Say
from hardware.quiet import MachineOccupied
from hardware.remote.answers import read_answer, read_window
from hardware.remote.connection import DeviceConnection, RequestFailed
from hardware.runner import DeviceSnapshot, Loading, RunnerError, RunnerErrorKind, Window

_Answer = TypeVar("_Answer")

ANSWER_S = 660.0
"""How long a device may take for an answer: longer than its runners wait for their processes."""

# A window cannot take longer than its request, but the clocks of two machines differ a little.
_CLOCKS_DIFFER = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cores:
    cores: tuple[int, ...] | None


class RemoteModel:
    """A `LoadedModel` in an agent on a device."""

    def __init__(
        self, connection: DeviceConnection, number: int, loading: Loading, is_simulated: bool
    ) -> None:
        self._connection = connection
        self._number = number
        self._is_simulated = is_simulated
        self.loading = loading

    def time(self, workload: Workload, samples: int) -> Window:
        """See `LoadedModel.time`."""
        start = time.monotonic()

        def read(answer: Mapping[str, Any]) -> Window:
            longest_ns = 1e9 * _CLOCKS_DIFFER * (time.monotonic() - start)
            return read_window(answer, samples, math.inf if self._is_simulated else longest_ns)

        return ask_device(
            self._connection,
            "time",
            read,
            model=self._number,
            workload=asdict(workload),
            samples=samples,
        )

    def move(self, cores: Sequence[int]) -> None:
        """See `LoadedModel.move`."""
        ask_device(self._connection, "move", dict, model=self._number, cores=list(cores))
        self.loading = replace(self.loading, cores=tuple(cores))

    def calmer_cores(self) -> tuple[int, ...] | None:
        """See `LoadedModel.calmer_cores`."""
        return ask_device(
            self._connection,
            "calmer cores",
            lambda answer: read_answer(_Cores, answer).cores,
            model=self._number,
        )

    def snapshot(self) -> DeviceSnapshot:
        """See `LoadedModel.snapshot`."""
        return ask_device(
            self._connection,
            "snapshot",
            lambda answer: read_answer(DeviceSnapshot, answer),
            model=self._number,
        )


def ask_device(
    connection: DeviceConnection,
    do: str,
    read: Callable[[Mapping[str, Any]], _Answer],
    *,
    say: Say | None = None,
    file: Path | None = None,
    longest_s: float = ANSWER_S,
    **fields: Any,
) -> _Answer:
    """Return the answer to a request, as `read` understands it.

    Raises:
        RunnerError: The device is lost, or declined the request.
        MachineOccupied: Another process did not release the device.
    """
    try:
        answer = connection.ask(do, say=say, file=file, longest_s=longest_s, **fields)
    except ChannelError as error:
        raise device_lost(error) from error
    except RequestFailed as error:
        if error.kind == "occupied" and do == "reserve":
            raise MachineOccupied(error.reason) from error
        kinds = get_args(RunnerErrorKind)
        kind = error.kind if error.kind in kinds else "refused"
        raise RunnerError(cast(RunnerErrorKind, kind), error.reason) from error
    except OSError as error:
        if file is None:
            raise
        raise RunnerError("refused", f"{file} cannot be read ({error.strerror})") from error
    try:
        return read(answer)
    except ValueError as error:
        raise device_lost(connection.close(f"invalid answer to '{do}' ({error})")) from error


def device_lost(error: ChannelError) -> RunnerError:
    """Return the error of a runner whose device cannot be reached."""
    return RunnerError("lost", error.reason)
