"""The process that connects to a device: bytes go in, lines come out."""

import contextlib
import math
import os
import select
import signal
import subprocess
import time

from hardware.channels.channel import Channel, ChannelError, program_failure
from hardware.printable_text import printable
from hardware.remote.bootstrap import FIRST_LINE
from hardware.remote.messages import LONGEST_LINE

_END_S = 5.0  # for the process, once its output has ended or it was killed
_GRACE_S = 1.0  # for the program on the device to delete its files at the end
_PIECE = 1 << 16
_KEPT_ERRORS = 1 << 14  # bytes of error output
_MOST_PIECES = 64  # of error output, at the end
_SHOWN = 100  # characters of an invalid answer


class ChannelProcess:
    """A process that connects to a device and runs Python there. End it at the end.

    It may send anything and read nothing: every method has a deadline, on the monotonic clock, and
    nothing is kept without a limit.
    """

    def __init__(self, channel: Channel) -> None:
        """Start the process.

        Raises:
            ChannelError: This machine cannot start it.
        """
        self._channel = channel
        command = channel.command(["-c", FIRST_LINE])
        try:
            self._process = subprocess.Popen(  # noqa: S603 - see Channel.command
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C must not reach it; this process ends it
            )
        except (OSError, ValueError) as error:  # ValueError: a zero byte
            raise program_failure(channel.name, command[0], error) from None
        pipes = self._process.stdin, self._process.stdout, self._process.stderr
        self._input, self._output, self._errors = (pipe.fileno() for pipe in pipes if pipe)
        for descriptor in (self._input, self._errors):
            os.set_blocking(descriptor, False)
        self._received = bytearray()
        self._last_errors = b""
        self._errors_ended = False

    def write(self, data: bytes, deadline: float) -> bool:
        """Write data; return False if the device has not read all of it by the deadline.

        Raises:
            ChannelError: The process has ended.
        """
        view = memoryview(data)
        while view:
            if not self._wait(self._input, select.POLLOUT, deadline):
                return False
            try:
                view = view[self.offer(view) :]
            except BrokenPipeError:
                raise self._ended() from None
        return True

    def offer(self, data: bytes | memoryview) -> int:
        """Write as much of the data as is possible without waiting; return the number of bytes.

        Raises:
            BrokenPipeError: The process has ended.
        """
        try:
            return os.write(self._input, data)
        except BlockingIOError:
            return 0

    def line(self, deadline: float, silence_s: float = math.inf) -> bytes | None:
        """Return the next line, without its end; None at the deadline or after a silence.

        Args:
            deadline: When to stop waiting.
            silence_s: The longest time without a single byte.

        Raises:
            ChannelError: The process has ended, or the line is too long.
        """
        searched = 0
        while time.monotonic() < deadline:  # also if a device sends without a pause
            end = self._received.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._received[:end])
                del self._received[: end + 1]
                return line
            searched = len(self._received)
            if searched > LONGEST_LINE:
                raise self.invalid(self._received)
            until = min(deadline, time.monotonic() + silence_s)
            if not self._wait(self._output, select.POLLIN, until):
                return None
            piece = os.read(self._output, _PIECE)
            if not piece:
                raise self._ended()
            self._received += piece
        return None

    def error_text(self) -> str:
        """Return the last error output."""
        for _ in range(_MOST_PIECES):
            if not self._note_errors():
                break
        return self._last_errors.decode(errors="replace")

    def invalid(self, answer: bytes | bytearray) -> ChannelError:
        """Return the error for an answer that has no meaning."""
        shown = printable(answer[: 4 * _SHOWN].decode(errors="replace"))[:_SHOWN]
        return ChannelError("lost", f"{self._channel.name}: invalid answer '{shown}'")

    def end(self) -> None:
        """End the process, and what it has started."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_S)
        finally:  # also after an interrupt
            if self._process.poll() is None:
                with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                    os.killpg(self._process.pid, signal.SIGKILL)
                    self._process.wait(_END_S)

    def _ended(self) -> ChannelError:
        """Return the reason why the process has closed one of its pipes."""
        try:
            returncode = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return ChannelError("lost", f"{self._channel.name}: the connection was closed")
        return self._channel.failure(returncode, self.error_text())

    def _wait(self, descriptor: int, event: int, until: float) -> bool:
        """Return whether a pipe is ready in time; meanwhile, read the error output."""
        poll = select.poll()
        poll.register(descriptor, event)
        if not self._errors_ended:
            poll.register(self._errors, select.POLLIN)
        while True:
            left_s = until - time.monotonic()
            ready = {found for found, _ in poll.poll(1000 * max(0.0, left_s))}
            if self._errors in ready:
                self._note_errors()
                if self._errors_ended:
                    poll.unregister(self._errors)
            if descriptor in ready:
                return True
            if left_s <= 0:
                return False

    def _note_errors(self) -> bool:
        """Keep the end of the error output; return whether there may be more."""
        try:
            piece = os.read(self._errors, _PIECE)
        except BlockingIOError:
            return False
        self._last_errors = (self._last_errors + piece)[-_KEPT_ERRORS:]
        self._errors_ended = not piece
        return len(piece) == _PIECE
