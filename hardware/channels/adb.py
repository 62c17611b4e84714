"""Reach an Android device with Google's own `adb`, which must be set up for it."""

import re
from collections.abc import Sequence

from hardware.channels.channel import (
    COMMAND_NOT_FOUND,
    ChannelError,
    ChannelErrorKind,
    check_python,
    shell_line,
    start_failure,
)
from hardware.printable_text import printable

ANDROID_PYTHON = "/data/local/tmp/nas-python/python3"
"""Where `nas devices add --android` installs Python; programs may run in this folder only."""

_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:\[\]-]*")
_CONFIRM = "confirm this computer's key on the screen of the device"
_CHOOSE = "set serial to one of those that `adb devices` lists"
# What adb itself reports, before it starts anything on the device. Older releases begin these lines
# with `error:`, and newer ones with `adb:`.
_MESSAGE = re.compile(r"^(?:error|adb(?:\.exe)?): (.+)$", re.MULTILINE)
_MEANINGS: tuple[tuple[str, ChannelErrorKind, str], ...] = (
    ("unauthorized", "refused", _CONFIRM),
    ("still authorizing", "refused", _CONFIRM),
    (
        "permissions",
        "refused",
        "install adb's udev rules (Debian and Ubuntu: `sudo apt install "
        "android-sdk-platform-tools-common`), then connect the device again",
    ),
    ("more than one", "refused", _CHOOSE),
    ("only supports allocating a pty", "refused", "Android 7 or newer is needed"),
    ("no devices", "unreachable", "connect a device on which USB debugging is switched on"),
    (
        "not found",
        "unreachable",
        f"connect the device (in a network: `adb connect ADDRESS`), or {_CHOOSE}",
    ),
    ("offline", "unreachable", "connect the device again, or try `adb reconnect offline`"),
    ("still connecting", "unreachable", "try again in a few seconds"),
    ("daemon", "unreachable", "start the server of adb with `adb start-server`"),
    ("protocol fault", "unreachable", "restart the server of adb with `adb kill-server`"),
    ("closed", "unreachable", "connect the device again, or try `adb reconnect`"),
)


class AdbChannel:
    """Runs Python on a device with `adb shell`."""

    def __init__(
        self, serial: str | None = None, python: str = ANDROID_PYTHON, program: str = "adb"
    ) -> None:
        """Describe the device; nothing is connected yet.

        Args:
            serial: The serial number that `adb devices` shows; None for the only device.
            python: The path of Python on the device.
            program: The client.

        Raises:
            ValueError: A value has characters that a shell could change.
        """
        if serial is not None and not _SERIAL.fullmatch(serial):
            raise ValueError(f"serial: {serial!r} is not a serial number as `adb devices` shows it")
        check_python(python)
        self._serial = serial
        self._python = python
        self._program = program

    @property
    def name(self) -> str:
        """See `Channel.name`."""
        return "adb" if self._serial is None else f"adb {self._serial}"

    def command(self, arguments: Sequence[str]) -> list[str]:
        """See `Channel.command`."""
        program = shell_line(self._python, arguments)
        return self.client("shell", "-e", "none", "-T", program)

    def client(self, *arguments: str) -> list[str]:
        """Return a command of adb for this device."""
        device = [] if self._serial is None else ["-s", self._serial]
        return [self._program, *device, *arguments]

    def failure(self, returncode: int, errors: str) -> ChannelError:
        """See `Channel.failure`."""
        message = _MESSAGE.search(errors)
        if message is not None:
            for sign, kind, hint in _MEANINGS:
                if sign in message[1]:
                    reason = printable(message[1]).strip().rstrip(".")
                    return ChannelError(kind, f"{self.name}: {reason}; {hint}")
        if returncode in COMMAND_NOT_FOUND and self._python == ANDROID_PYTHON:
            return ChannelError(
                "no python",
                f"{self.name}: Python is not installed in {ANDROID_PYTHON}; install it with "
                "`nas devices add NAME --channel adb --android`",
            )
        if returncode == 0:  # also if the device was disconnected
            return ChannelError("lost", f"{self.name}: the connection has ended; check the cable")
        return start_failure(self.name, self._python, returncode, errors)
