"""A connection to the agent on a device: it is started there, and answers requests in order."""

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from hardware.channels.channel import LONGEST_REASON, Channel, ChannelError, last_lines
from hardware.local import interrupt_deferred
from hardware.printable_text import printable
from hardware.remote import bootstrap
from hardware.remote.archive import agent_archive
from hardware.remote.channel_process import ChannelProcess
from hardware.remote.messages import SIGNS_PER_SILENCE, SILENCE_S

# The time to connect, to start Python, and to receive the archive over a slow line.
_START_S = 60.0
_MOST_GREETING = 1 << 16  # bytes that a login may print before the first answer
_VERSION = re.compile(r"[0-9.]{1,20}")
_PIECE = 1 << 16


class RequestFailed(Exception):
    """The agent answered with an error.

    Attributes:
        kind: The kind of the error, as the agent names it.
        reason: What happened, in printable characters.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class DeviceConnection:
    """An agent that has been started on a device.

    After a ChannelError or an interrupted request, it is closed, and every further request raises
    the same error. Close it at the end, or use it in `with`.

    Attributes:
        python: The version of Python on the device.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        start_s: float = _START_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        """Start the agent.

        Args:
            channel: How to reach the device.
            start_s: The seconds after which a device that has not answered is unreachable.
            silence_s: The seconds without a sign of life after which either side gives up on the
                other one.

        Raises:
            ChannelError: The agent cannot be started.
        """
        self._name = channel.name
        self._silence_s = silence_s
        self._failure: ChannelError | None = None
        self._number = 0
        self._sending = threading.Lock()
        self._closing = threading.Event()
        with contextlib.ExitStack() as opened:
            with interrupt_deferred():
                self._process = ChannelProcess(channel)
                opened.callback(self._process.end)
            self.python = self._start(time.monotonic() + start_s)
            life = threading.Thread(target=self._show_life, daemon=True)
            life.start()
            opened.callback(life.join)  # before its pipe is closed
            opened.callback(self._closing.set)
            self._opened = opened.pop_all()

    def __enter__(self) -> "DeviceConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether it answers requests, as far as is known."""
        return self._failure is None

    def close(self, reason: str = "the connection is closed") -> ChannelError:
        """End the agent and what it has loaded.

        Args:
            reason: Why, unless it is closed already.

        Returns:
            The error that every further request raises.
        """
        if self._failure is None:
            self._failure = self._lost(reason)
        self._opened.close()
        return self._failure

    def ask(
        self,
        do: str,
        *,
        say: Callable[[str], None] | None = None,
        file: Path | None = None,
        longest_s: float = 600.0,
        **fields: Any,
    ) -> Mapping[str, Any]:
        """Send a request and return its answer.

        Args:
            do: The name of the request.
            say: Receives the texts that the agent sends before the answer.
            file: A file to send with the request.
            longest_s: The seconds after which a device that has not answered is lost.
            **fields: The fields of the request.

        Raises:
            RequestFailed: The agent answered with an error.
            ChannelError: The device is lost.
            OSError: The file cannot be read.
        """
        if self._failure is not None:
            raise self._failure
        self._number += 1
        request = {"id": self._number, "do": do, **fields}
        with contextlib.nullcontext() if file is None else file.open("rb") as content:
            try:
                self._send(request, content)
                return self._answer(say, longest_s)
            except RequestFailed:
                raise
            except ChannelError as error:
                self._failure = error
                self.close()
                raise
            except BaseException:
                # An interrupt, for example: the answer would be mistaken for that to the next one.
                self.close(f"the request '{do}' was interrupted")
                raise

    def _start(self, deadline: float) -> str:
        """Send the program and the archive; return the version of Python."""
        archive = agent_archive()
        source = Path(bootstrap.__file__).read_text()
        facts = {
            "sha256": archive.sha256,
            "bytes": len(archive.content),
            "silence_s": self._silence_s,
        }
        self._write_start(f"{source!r}\n{json.dumps(facts)}\n".encode(), deadline)
        found = self._first_answer(deadline)
        python = str(found.get("python"))
        if not _VERSION.fullmatch(python):
            raise self._lost(f"invalid version of Python '{python}'")
        if "error" in found:
            raise ChannelError("refused", f"{self._name}: {found['error']}")
        if "stored" not in found:
            raise ChannelError(
                "no python",
                f"{self._name}: Python {python} is older than 3.11; install a newer one, or set "
                "python to its path",
            )
        if not found["stored"]:
            self._write_start(archive.content, deadline)
        return python

    def _write_start(self, data: bytes, deadline: float) -> None:
        if not self._process.write(data, deadline):
            raise self._unreachable()

    def _first_answer(self, deadline: float) -> dict[str, Any]:
        """Return the answer of the first program; what a login prints before it is skipped."""
        mark, skipped = bootstrap.MARK.encode(), 0
        while True:
            line = self._process.line(deadline)
            if line is None:
                raise self._unreachable()
            _, found, answer = line.partition(mark)
            if found:
                return self._object(answer)
            skipped += len(line) + 1
            if skipped > _MOST_GREETING:
                raise self._process.invalid(line)

    def _answer(self, say: Callable[[str], None] | None, longest_s: float) -> Mapping[str, Any]:
        deadline = time.monotonic() + longest_s
        while True:
            line = self._process.line(deadline, self._silence_s)
            if line is None:
                waited_s = longest_s if time.monotonic() >= deadline else self._silence_s
                raise self._lost(f"no answer within {waited_s:g} s")
            if not line.strip():
                continue
            message = self._object(line)
            if message.get("id") != self._number:
                raise self._process.invalid(line)
            match message:
                case {"say": str(text)}:
                    if say is not None:
                        say(printable(text)[:LONGEST_REASON])
                case {"error": {"kind": str(kind), "reason": str(reason)}}:
                    raise RequestFailed(kind, printable(reason)[:LONGEST_REASON])
                case {"answer": dict(answer)}:
                    return answer
                case _:
                    raise self._process.invalid(line)

    def _object(self, line: bytes) -> dict[str, Any]:
        """Return the JSON object in a line."""
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._process.invalid(line)
        return found

    def _send(self, request: dict[str, Any], content: IO[bytes] | None) -> None:
        """Send a request, with a file as long as it is now."""
        left = 0 if content is None else os.fstat(content.fileno()).st_size
        with self._sending:
            if content is None:
                self._write(json.dumps(request).encode() + b"\n")
                return
            self._write(json.dumps({**request, "bytes": left}).encode() + b"\n")
            while left:
                piece = content.read(min(left, _PIECE))
                if not piece:
                    raise self._lost(f"'{content.name}' was shortened while it was sent")
                self._write(piece)
                left -= len(piece)

    def _write(self, data: bytes) -> None:
        if not self._process.write(data, time.monotonic() + self._silence_s):
            raise self._lost(f"it has read nothing for {self._silence_s:g} s")

    def _show_life(self) -> None:
        while not self._closing.wait(self._silence_s / SIGNS_PER_SILENCE):
            # A request that is being sent is a sign of life itself.
            if self._sending.acquire(blocking=False):
                try:
                    self._process.offer(b"\n")
                except BrokenPipeError:  # the next request reports it
                    return
                finally:
                    self._sending.release()

    def _lost(self, reason: str) -> ChannelError:
        return ChannelError("lost", f"{self._name}: {reason}")

    def _unreachable(self) -> ChannelError:
        reason = f"no answer ({last_lines(self._process.error_text())})"
        return ChannelError("unreachable", f"{self._name}: {reason}")
