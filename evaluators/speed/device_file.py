"""The devices that this machine can reach: `devices.toml`, which is never copied into a study."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evaluators.scores import DEVICE_NAME
from evaluators.speed.cooling import Cooling
from hardware.channels.adb import ANDROID_PYTHON, AdbChannel
from hardware.channels.channel import Channel
from hardware.channels.command import CommandChannel
from hardware.channels.ssh import SshChannel
from hardware.remote.remote_runner import RemoteRunner, RemoteSettings, Runtime
from hardware.runner import ModelFormat
from search_space.input_errors import format_value
from search_space.input_files import read_text
from search_space.strict import load_toml, parse_strict

ChannelKind: TypeAlias = Literal["local", "ssh", "adb", "command"]

# The keys that only some channels have, with whether they are required there.
_OWN_KEYS: Mapping[str, Mapping[ChannelKind, bool]] = {
    "host": {"ssh": True},
    "serial": {"adb": False},
    "run": {"command": True},
}
_PYTHONS: Mapping[ChannelKind, str] = {
    "local": sys.executable,
    "ssh": "python3",
    "adb": ANDROID_PYTHON,
    "command": "python3",
}


class DeviceDefinition(BaseModel):
    """A table of `devices.toml`: how a device is reached, and how it measures.

    Attributes:
        channel: How it is reached: `ssh`, `adb`, any `command`, or `local` for this machine.
        host: For `ssh`: a host of OpenSSH's configuration, a name or an address, with or without
            `USER@`.
        serial: For `adb`: the serial number. None is the only device.
        run: For `command`: the command and its arguments, which Python's are appended to.
        python: Python on the device; None is `python3`, or the one that this program installs.
        runtime: What runs the models: `onnxruntime` or `llama.cpp`; `fake` computes times from a
            formula.
        llama_bench: For `llama.cpp`: the path of llama-bench on the device. None looks it up there.
        threads: The number of threads, 1 to 1,024.
        cores: The cores to measure on: a list of numbers, or `big` for those of the fastest type.
            None chooses the idlest ones.
        cool: When the device is cool enough; None does not wait.
        patience_s: Seconds, 0 to 86,400, in which a device that was lost may come back.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    channel: ChannelKind
    host: str | None = None
    serial: str | None = None
    run: tuple[str, ...] | None = None
    python: str | None = None
    runtime: Runtime = "onnxruntime"
    llama_bench: str | None = None
    threads: int = Field(default=1, ge=1, le=1_024)
    cores: tuple[int, ...] | Literal["big"] | None = None
    cool: Cooling | None = None
    patience_s: float = Field(default=600, ge=0, le=86_400)

    @property
    def is_simulated(self) -> bool:
        """Whether times come from a formula instead of a device."""
        return self.runtime == "fake"

    @property
    def model_format(self) -> ModelFormat:
        """The format of the model files that its runtime reads."""
        return "gguf" if self.runtime == "llama.cpp" else "onnx"

    @field_validator("cores", mode="before")
    @classmethod
    def _check_cores(cls, cores: object) -> object:
        if isinstance(cores, list):
            return tuple(cores)  # a strict check of a value in Python takes no list for a tuple
        if cores is None or cores == "big" or isinstance(cores, tuple):
            return cores
        raise ValueError(f"{format_value(cores)} is not 'big' or a list of numbers, such as [6, 7]")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for key, channels in _OWN_KEYS.items():
            value = getattr(self, key)
            if value is not None and self.channel not in channels:
                shown = list(value) if isinstance(value, tuple) else value
                raise ValueError(f"{key}: {shown!r} is not used by the channel {self.channel!r}")
            if value is None and channels.get(self.channel, False):
                raise ValueError(f"{key}: it is missing, and the channel {self.channel!r} needs it")
        if self.llama_bench is not None and self.runtime != "llama.cpp":
            raise ValueError(
                f"llama_bench: {self.llama_bench!r} is not used by the runtime {self.runtime!r}, "
                "only by 'llama.cpp'"
            )
        if isinstance(self.cores, tuple) and len(self.cores) < self.threads:
            raise ValueError(
                f"cores: {list(self.cores)} are fewer than the {self.threads} threads of a model"
            )
        channel_of(self)
        return self


def read_devices(path: Path) -> dict[str, DeviceDefinition]:
    """Read a file of devices.

    Args:
        path: The TOML file, with a table for each device.

    Returns:
        The devices by name, in the order of the file.

    Raises:
        ValueError: The file cannot be read or is not valid. The message is one sentence.
    """
    return parse_devices(read_text(path), str(path))


def parse_devices(text: str, source: str) -> dict[str, DeviceDefinition]:
    """Return the devices in a TOML text; see `read_devices`.

    Args:
        text: The text.
        source: The name of the file, which error messages start with.
    """
    found = {}
    for name, table in load_toml(text, source).items():
        if not re.fullmatch(DEVICE_NAME, name):
            raise ValueError(
                f"{source}: {name!r} is not the name of a device: 1 to 32 lower-case letters, "
                "digits, dashes or underscores, starting with a letter"
            )
        if not isinstance(table, dict):
            raise ValueError(f"{source}: {name} is not a table, which begins with [{name}]")
        found[name] = parse_strict(DeviceDefinition, table, f"{source}: {name}")
    return found


def channel_of(definition: DeviceDefinition) -> Channel:
    """Return the channel to a device; nothing is connected yet.

    Raises:
        ValueError: A value could be misunderstood by the program that connects.
    """
    python = definition.python or _PYTHONS[definition.channel]
    match definition.channel:
        case "local":
            return CommandChannel((), python)
        case "command":
            assert definition.run is not None
            return CommandChannel(definition.run, python)
        case "ssh":
            assert definition.host is not None
            return SshChannel(definition.host, python)
        case "adb":
            return AdbChannel(definition.serial, python)


def remote_runner_of(definition: DeviceDefinition) -> RemoteRunner:
    """Return the runner of a device; nothing is connected yet."""
    settings = RemoteSettings(
        runtime=definition.runtime,
        threads=definition.threads,
        cores=definition.cores,
        llama_bench=definition.llama_bench,
    )
    return RemoteRunner(channel_of(definition), settings)
