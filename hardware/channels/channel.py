"""The interface to ways of reaching a device, and the errors that they have in common."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from hardware.printable_text import printable

ChannelErrorKind: TypeAlias = Literal["unreachable", "refused", "no python", "lost"]

COMMAND_NOT_FOUND = (126, 127)
"""The exit codes of a shell for a program that does not exist or cannot be run."""

LONGEST_REASON = 500
"""Characters of a reason."""

_LAST_LINES = 3
_LONGEST_LINES = 300  # characters of the last lines together
# How to install the programs that connect.
_INSTALLATION: Mapping[str, str] = {
    "adb": "install it (Debian and Ubuntu: `sudo apt install adb`), or Google's platform-tools",
    "ssh": "install OpenSSH's client (Debian and Ubuntu: `sudo apt install openssh-client`)",
}


_PYTHON = re.compile(r"[A-Za-z0-9_./+-]+")


class ChannelError(Exception):
    """A device cannot be reached, or no longer answers.

    Attributes:
        kind: `unreachable` if there was no connection; `refused` if the device or the program that
            connects declined it; `no python` if there is no suitable Python on the device; `lost`
            if there was a connection.
        reason: What happened, for the user, with the last output of the program that connects: at
            most 500 printable characters.
    """

    def __init__(self, kind: ChannelErrorKind, reason: str) -> None:
        self.kind: ChannelErrorKind = kind
        self.reason = printable(reason)[:LONGEST_REASON]
        super().__init__(self.reason)


class Channel(Protocol):
    """A way to start a Python program on a device, with its standard input and output as pipes.

    Every implementation must pass `tests/hardware/channels/channel_conformance.py`.
    """

    @property
    def name(self) -> str:
        """How it reaches the device, for messages: `ssh pi@pi5`."""
        ...

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Return the command of this machine that runs the device's Python.

        Its standard input and output are those of the program on the device, byte by byte. It ends
        when that program ends, and its standard input ends when this machine closes it.

        Args:
            arguments: The arguments of Python. They are fixed texts of this program, never text of
                a user, a file or a device.
        """
        ...

    def failure(self, returncode: int, errors: str) -> ChannelError:
        """Return the reason why the command ended before the program on the device answered.

        Args:
            returncode: The exit code of the command.
            errors: What it wrote to standard error.
        """
        ...


def check_python(python: str, *, may_be_at_home: bool = False) -> None:
    """Check that a path of Python has only characters that no shell changes.

    Args:
        python: A name or a path.
        may_be_at_home: Whether it may start with `~/`, which the shell of the device replaces.

    Raises:
        ValueError: It has other characters.
    """
    path = python.removeprefix("~/") if may_be_at_home else python
    if not _PYTHON.fullmatch(path):
        raise ValueError(
            f"python: {python!r} is not a path of letters, digits and the characters _ . / + -"
        )


def shell_line(python: str, arguments: Sequence[str]) -> str:
    """Return the line with which a POSIX shell on a device becomes Python.

    Args:
        python: A path that `check_python` has accepted.
        arguments: The arguments of Python; see `Channel.command`.
    """
    return f"exec {python} {shlex.join(arguments)}"


def program_failure(name: str, program: str, error: OSError | ValueError) -> ChannelError:
    """Return the reason why the program that connects could not be started on this machine.

    Args:
        name: The name of the channel.
        program: The program.
        error: What the system reported.
    """
    hint = _INSTALLATION.get(Path(program).name, "check its path")
    found = error.strerror if isinstance(error, OSError) else error
    reason = f"'{program}' cannot be started on this machine ({found}); {hint}"
    return ChannelError("unreachable", f"{name}: {reason}")


def start_failure(name: str, python: str, returncode: int, errors: str) -> ChannelError:
    """Return the reason why a program did not start, if the channel itself worked.

    Args:
        name: The name of the channel.
        python: The Python that was to be started.
        returncode: The exit code of the command.
        errors: What it wrote to standard error.
    """
    if returncode in COMMAND_NOT_FOUND:
        return ChannelError(
            "no python",
            f"{name}: '{python}' cannot be run there ({last_lines(errors)}); install Python 3.11 "
            "or newer, or set python to its path",
        )
    return ChannelError("lost", f"{name}: exit code {returncode}: {last_lines(errors)}")


def last_lines(errors: str) -> str:
    """Return the last lines of error output as one printable line of limited length."""
    lines = [printable(line).strip() for line in errors.splitlines()]
    last = "; ".join([line for line in lines if line][-_LAST_LINES:]) or "no output"
    return last if len(last) <= _LONGEST_LINES else f"…{last[1 - _LONGEST_LINES :]}"
