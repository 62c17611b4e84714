"""Reach a device with any command that runs a program there, such as `kubectl exec`."""

from collections.abc import Sequence

from hardware.channels.channel import ChannelError, start_failure


class CommandChannel:
    """Runs a command of the user, followed by Python and its arguments.

    The command must pass standard input and output on, byte by byte, and must not give its
    arguments to a shell: `ssh`, for example, has a channel of its own.
    """

    def __init__(self, run: Sequence[str], python: str = "python3") -> None:
        """Describe the command; nothing is started yet.

        Args:
            run: The command and its arguments; empty for this machine itself.
            python: The Python on the device.
        """
        self._run = tuple(run)
        self._python = python

    @property
    def name(self) -> str:
        """See `Channel.name`."""
        return " ".join(self._run) or "this machine"

    def command(self, arguments: Sequence[str]) -> list[str]:
        """See `Channel.command`."""
        return [*self._run, self._python, *arguments]

    def failure(self, returncode: int, errors: str) -> ChannelError:
        """See `Channel.failure`."""
        return start_failure(self.name, self._python, returncode, errors)
