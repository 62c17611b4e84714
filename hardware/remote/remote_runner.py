"""Measure models on another device, where an agent holds the runner that does it."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from hardware.channels.channel import Channel, ChannelError
from hardware.machine_lock import LockWait
from hardware.progress import Say
from hardware.quiet import MachineOccupied, Reservation
from hardware.remote.answers import read_answer
from hardware.remote.connection import DeviceConnection
from hardware.remote.device_state import DeviceState
from hardware.remote.identity import DeviceIdentity
from hardware.remote.remote_model import RemoteModel, ask_device, device_lost
from hardware.runner import (
    LoadedModel,
    Loading,
    ModelFormat,
    RunnerError,
)

Runtime: TypeAlias = Literal["onnxruntime", "llama.cpp", "fake"]
Cores: TypeAlias = tuple[int, ...] | Literal["big"] | None
"""The cores to measure on: these, those of the fastest type, or any."""

# Loading draws the weights of the model, on a slow board for minutes.
_LOAD_S = 1_800.0
_WAIT_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """How a device measures.

    Attributes:
        runtime: What it runs models with.
        threads: Threads that a model computes with.
        cores: The cores to measure on.
        llama_bench: The path of llama-bench on the device; None looks it up on the PATH there.
    """

    runtime: Runtime = "onnxruntime"
    threads: int = 1
    cores: Cores = None
    llama_bench: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunnerFacts:
    fingerprint: str
    memory_step_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    model: int
    loading: Loading


class RemoteRunner:
    """A Runner on another device. Close it at the end, or use it in `with`.

    It connects when it is first needed, and again after the connection was lost; the models that
    were loaded are then lost, too.
    """

    def __init__(
        self,
        channel: Channel,
        settings: RemoteSettings,
        connect: Callable[[Channel], DeviceConnection] = DeviceConnection,
    ) -> None:
        """Choose the device; nothing is connected yet.

        Args:
            channel: How to reach the device.
            settings: How it measures.
            connect: Opens a connection.
        """
        self._channel = channel
        self._settings = settings
        self._connect = connect
        self._connection: DeviceConnection | None = None
        self._facts: _RunnerFacts | None = None
        self._identity: DeviceIdentity | None = None
        self._reserve: Callable[[DeviceConnection], Reservation] | None = None
        self._files = itertools.count()

    def __enter__(self) -> "RemoteRunner":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the agent on the device, and with it the models that are loaded."""
        connection, self._connection, self._facts = self._connection, None, None
        if connection is not None:
            connection.close()

    @property
    def identity(self) -> DeviceIdentity:
        """What the device is.

        Raises:
            RunnerError: The device cannot be reached.
        """
        self._open()
        assert self._identity is not None
        return self._identity

    @property
    def python(self) -> str:
        """The version of Python on the device.

        Raises:
            RunnerError: The device cannot be reached.
        """
        return self._open().python

    def state(self) -> DeviceState:
        """Return the present temperatures, clocks, memory and packages of the device.

        Raises:
            RunnerError: The device cannot be reached.
        """
        return ask_device(self._open(), "state", lambda answer: read_answer(DeviceState, answer))

    def exchange(self, file: Path | None = None) -> None:
        """Send a request that does nothing, or a file, and wait for the answer.

        Args:
            file: The file, which the device deletes at the end of the connection.

        Raises:
            RunnerError: The device cannot be reached, or cannot store the file.
        """
        if file is None:
            ask_device(self._open(), "echo", dict)
        else:
            ask_device(self._open(), "file", dict, file=file, files=next(self._files), name="probe")

    @property
    def fingerprint(self) -> str:
        """See `Runner.fingerprint`; it also contains the identity of the device.

        Raises:
            RunnerError: The device cannot be reached.
        """
        self._connected()
        assert self._facts is not None
        return f"{self._facts.fingerprint} device {self.identity.id}"

    @property
    def model_format(self) -> ModelFormat:
        """See `Runner.model_format`."""
        return "gguf" if self._settings.runtime == "llama.cpp" else "onnx"

    @property
    def memory_step_bytes(self) -> int:
        """See `Runner.memory_step_bytes`."""
        self._connected()
        assert self._facts is not None
        return self._facts.memory_step_bytes

    @contextlib.contextmanager
    def load(self, model: Path, capacity: int) -> Iterator[LoadedModel]:
        """See `Runner.load`."""
        connection, files = self._connected(), next(self._files)
        for path in _files_of(model):
            ask_device(connection, "file", dict, file=path, files=files, name=path.name)
        found = ask_device(
            connection,
            "load",
            lambda answer: read_answer(_Loaded, answer),
            longest_s=_LOAD_S,
            files=files,
            name=model.name,
            capacity=capacity,
        )
        is_simulated = self._settings.runtime == "fake"
        loaded = RemoteModel(connection, found.model, found.loading, is_simulated)
        try:
            yield loaded
        finally:
            with contextlib.suppress(RunnerError):
                ask_device(connection, "unload", dict, model=found.model)

    @contextlib.contextmanager
    def measuring(
        self, say: Say, *, patience_s: float, lock_wait: LockWait
    ) -> Iterator[Reservation]:
        """Hold off all other measurements and training on the device; see `quiet.measuring`.

        If the connection is lost meanwhile, the device is reserved again with the next one.

        Raises:
            MachineOccupied: Another process did not release the device.
            RunnerError: The device cannot be reached.
        """

        def reserve(connection: DeviceConnection) -> Reservation:
            return ask_device(
                connection,
                "reserve",
                lambda answer: read_answer(Reservation, answer),
                say=say,
                longest_s=_WAIT_S,
                patience_s=patience_s,
                **asdict(lock_wait),
            )

        reservation = reserve(self._open())
        self._reserve = reserve
        try:
            yield reservation
        finally:
            self._reserve = None
            if self._connection is not None:
                with contextlib.suppress(RunnerError):
                    ask_device(self._connection, "release", dict)

    def _connected(self) -> DeviceConnection:
        """Return a connection to a runner that is ready for models."""
        connection = self._open()
        if self._facts is None:
            self._facts = ask_device(
                connection,
                "use",
                lambda answer: read_answer(_RunnerFacts, answer),
                **asdict(self._settings),
            )
        return connection

    def _open(self) -> DeviceConnection:
        """Return the connection; open it if there is none, or if it was lost."""
        if self._connection is not None and self._connection.is_open:
            return self._connection
        self.close()
        try:
            connection = self._connect(self._channel)
        except ChannelError as error:
            raise device_lost(error) from error
        with contextlib.ExitStack() as opened:
            opened.enter_context(connection)
            identity = ask_device(
                connection, "identify", lambda answer: read_answer(DeviceIdentity, answer)
            )
            if self._identity is not None and identity.id != self._identity.id:
                raise RunnerError(
                    "lost",
                    f"{self._channel.name}: this is another device than before ({identity.id} "
                    f"instead of {self._identity.id})",
                )
            if self._reserve is not None:
                self._reserve_again(connection, self._reserve)
            opened.pop_all()
        self._connection, self._identity = connection, identity
        return connection

    def _reserve_again(
        self, connection: DeviceConnection, reserve: Callable[[DeviceConnection], Reservation]
    ) -> None:
        """Reserve the device, whose connection was lost during a reservation."""
        try:
            obstacle = reserve(connection).obstacle
        except MachineOccupied as occupied:
            obstacle = str(occupied)
        if obstacle is not None:
            reason = f"the connection was lost, and now the device is occupied: {obstacle}"
            raise RunnerError("lost", f"{self._channel.name}: {reason}")


def _files_of(model: Path) -> list[Path]:
    """Return the model file, its description, and its weights if they are not drawn."""
    others = (model.with_name("model.json"), model.with_name(f"{model.name}.data"))
    return [model, *(path for path in others if path.exists())]
