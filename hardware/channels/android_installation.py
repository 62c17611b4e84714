"""Copy Python to an Android device with `adb push`, where `AdbChannel` finds it."""

import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from hardware.channels.adb import ANDROID_PYTHON, AdbChannel
from hardware.channels.android_bundle import VERSION_FILE
from hardware.channels.channel import program_failure

_TARGET = PurePosixPath(ANDROID_PYTHON).parent
_NEW = _TARGET.with_name(f"{_TARGET.name}.new")
_PROCESSOR = "arm64-v8a"
_LONGEST_S = 1_800


def install_on_android(bundle: Path, channel: AdbChannel, say: Callable[[str], None]) -> None:
    """Copy a bundle to a device, unless it is there already, and check that it runs.

    A bundle of an earlier time is replaced at the end, in one step.

    Args:
        bundle: The folder that `android_bundle` returns.
        channel: How to reach the device.
        say: Receives a line before each step.

    Raises:
        ValueError: The device cannot be reached or has another processor, the copy fails, or
            Python does not run there.
    """
    processor = _shell(channel, "getprop ro.product.cpu.abi").strip()
    if processor != _PROCESSOR:
        raise ValueError(
            f"android: the device has a processor of type {processor!r}, and Python for Android is "
            f"made for {_PROCESSOR!r}"
        )
    version = (bundle / VERSION_FILE).read_text()
    if _shell(channel, f"cat {_TARGET}/{VERSION_FILE} || true") == version:
        say(f"Python is on the device already, in {_TARGET}")
        return
    say(f"copying Python to {_TARGET} on the device, about 160 MB")
    _shell(channel, f"rm -rf {_NEW}")
    _run(channel, channel.client("push", str(bundle), str(_NEW)))
    say("preparing Python on the device, about a minute")
    _shell(channel, f"{_NEW}/python3 -c 'import numpy, onnxruntime'")
    # The agent writes no compiled files, and the clocks of the two machines may differ.
    _shell(
        channel, f"{_NEW}/python3 -m compileall -q --invalidation-mode unchecked-hash {_NEW}/lib"
    )
    _shell(channel, f"rm -rf {_TARGET} && mv {_NEW} {_TARGET}")


def _shell(channel: AdbChannel, command: str) -> str:
    """Run a fixed command of this module on the device and return what it prints."""
    return _run(channel, channel.client("shell", "-e", "none", "-T", command))


def _run(channel: AdbChannel, command: list[str]) -> str:
    try:
        ended = subprocess.run(  # noqa: S603 - fixed arguments, and a checked serial number
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LONGEST_S,
            check=False,
        )
    except OSError as error:
        reason = program_failure(channel.name, command[0], error).reason
        raise ValueError(f"android: {reason}") from None
    except subprocess.TimeoutExpired:
        raise ValueError(f"android: {channel.name}: no answer within {_LONGEST_S} s") from None
    if ended.returncode:
        reason = channel.failure(ended.returncode, ended.stderr or ended.stdout).reason
        raise ValueError(f"android: {reason}")
    return ended.stdout
