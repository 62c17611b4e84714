"""Add a device to a file of devices, and prepare an Android device for it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from evaluators.speed.device_file import DeviceDefinition, parse_devices
from evaluators.text.cache_files import cache_folder
from hardware.channels.adb import AdbChannel
from hardware.channels.android_bundle import android_bundle
from hardware.channels.android_installation import install_on_android
from hardware.progress import Say
from search_space.input_files import exists, read_text
from search_space.strict import parse_strict

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def text_with_device(
    path: Path, name: str, values: Mapping[str, object], *, may_exist: bool = False
) -> str:
    """Return the text of a file of devices with one more device at its end.

    Args:
        path: The file. It need not exist.
        name: The name of the device.
        values: The keys of `DeviceDefinition` that were specified: texts, numbers and lists.
        may_exist: Whether the file may already have this very device; it is then not changed.

    Raises:
        ValueError: The file is not valid or has a device of this name, or the device is not valid.
    """
    text = read_text(path) if exists(path) else ""
    present = parse_devices(text, str(path)).get(name)
    definition = parse_strict(DeviceDefinition, dict(values), f"device '{name}'")
    if may_exist and present == definition:
        return text
    if present is not None:
        raise ValueError(f"name: {path} has a device '{name}' already; choose another name")
    lines = [f"[{_key(name)}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    separator = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    text += separator + "\n".join(lines) + "\n"
    if parse_devices(text, str(path))[name] != definition:
        raise ValueError(f"name: the device '{name}' cannot be written to {path}")
    return text


def install_python(serial: str | None, say: Say) -> None:
    """Install Python, numpy and onnxruntime on an Android device.

    Args:
        serial: Its serial number; None for the only device.
        say: Receives a line before each step.

    Raises:
        ValueError: The files cannot be downloaded, or cannot be copied to the device.
    """
    channel = AdbChannel(serial)
    install_on_android(android_bundle(cache_folder(), say), channel, say)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _toml(name)


def _toml(value: object) -> str:
    """Return a text, a number or a list in TOML."""
    # They look as in JSON, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
