"""Reach a device with OpenSSH's own client, keys, jump hosts and configuration."""

import re
from collections.abc import Sequence

from hardware.channels.channel import (
    ChannelError,
    check_python,
    last_lines,
    shell_line,
    start_failure,
)

# What a host may look like: no leading dash, which ssh would take for an option, and no spaces.
_HOST = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.+-]*@)?[A-Za-z0-9\[][A-Za-z0-9_.:%\[\]-]*")
_FAILED = 255
_OPTIONS = {
    "BatchMode": "yes",  # asks for no password
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "20",
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "RequestTTY": "no",
    # It may use a shared connection of the user, but must not become one, because it is killed.
    "ControlMaster": "no",
    "EscapeChar": "none",
    "LogLevel": "ERROR",
}
_HINTS = (
    ("Host key verification failed", "run `ssh` for this host once, and accept the device's key"),
    ("Permission denied", "the device accepts no key of this user; `ssh` must need no password"),
)


class SshChannel:
    """Runs Python on a device with `ssh`. The host key must be known, and a key accepted."""

    def __init__(self, host: str, python: str = "python3", program: str = "ssh") -> None:
        """Describe the device; nothing is connected yet.

        Args:
            host: A host of OpenSSH's configuration, a name or an address, with or without `USER@`.
            python: The Python on the device: a name, or a path that may start with `~/`.
            program: The client.

        Raises:
            ValueError: A value has characters that a shell or ssh could misunderstand.
        """
        if not _HOST.fullmatch(host):
            raise ValueError(f"host: {host!r} is not a host, with or without USER@")
        check_python(python, may_be_at_home=True)
        self._host = host
        self._python = python
        self._program = program

    @property
    def name(self) -> str:
        """See `Channel.name`."""
        return f"ssh {self._host}"

    def command(self, arguments: Sequence[str]) -> list[str]:
        """See `Channel.command`."""
        options = [part for name, value in _OPTIONS.items() for part in ("-o", f"{name}={value}")]
        # The shell of the device expands ~, and the pattern above leaves nothing else to it.
        program = shell_line(self._python, arguments)
        return [self._program, *options, "--", self._host, program]

    def failure(self, returncode: int, errors: str) -> ChannelError:
        """See `Channel.failure`."""
        if returncode != _FAILED:
            return start_failure(self.name, self._python, returncode, errors)
        for sign, hint in _HINTS:
            if sign in errors:
                return ChannelError("refused", f"{self.name}: {last_lines(errors)}; {hint}")
        return ChannelError("unreachable", f"{self.name}: {last_lines(errors)}")
