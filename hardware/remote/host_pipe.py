"""The pipe between an agent and its host: requests and files come in, answers go out.

It needs only Python. Both ends notice when the other one is gone; see `messages`.
"""

import contextlib
import json
import os
import queue
import select
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardware.remote.messages import LONGEST_LINE, SIGNS_PER_SILENCE, SILENCE_S
from hardware.remote.run_folder import delete_run_folder

_PIECE = 1 << 16


class RequestRefused(Exception):
    """A request that cannot be carried out.

    Attributes:
        kind: The kind of the error; most are those of a `RunnerError`.
        reason: What happened, for the user.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class Requests:
    """The requests of the host, which a thread reads in the background.

    If the host closes the connection or is silent for too long, this ends the process at once, and
    with it the processes that hold its models, whatever they are doing.

    Args:
        source: The descriptor that they are read from.
        folder: The folder that files are received in; it is deleted at the end.
        silence_s: The seconds without any byte after which the host is gone.
    """

    def __init__(self, source: int, folder: Path, silence_s: float = SILENCE_S) -> None:
        self._source = source
        self._folder = folder
        self._silence_s = silence_s
        self._read = bytearray()
        self._queue: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._receive, daemon=True).start()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the requests, for ever.

        A request that makes no sense, or whose file could not be stored, has "failure".
        """
        while True:
            yield self._queue.get()

    def _receive(self) -> None:
        try:
            while True:
                line = self._line()
                if line.strip():
                    self._queue.put(self._request(line))
        except EOFError as end:
            _report(str(end))
        finally:
            leave(self._folder)

    def _line(self) -> bytes:
        searched = 0
        while (end := self._read.find(b"\n", searched)) < 0:
            searched = len(self._read)
            if searched > LONGEST_LINE:
                raise EOFError("the host sent a line that is too long")
            self._read += self._piece()
        line = bytes(self._read[:end])
        del self._read[: end + 1]
        return line

    def _request(self, line: bytes) -> dict[str, Any]:
        """Return a request, and receive its file."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            return {"failure": "a request is not a JSON object"}
        size = request.get("bytes", 0)
        if type(size) is not int or size < 0:
            return {**request, "failure": f"bytes: {size!r} is not a number of bytes"}
        if "bytes" in request:
            request |= self._receive_file(request, size)
        return request

    def _receive_file(self, request: dict[str, Any], size: int) -> dict[str, str]:
        """Store a file of a model; return "failure" if that is not possible.

        The bytes are read in any case, because the next request follows them.
        """
        failure: dict[str, str] = {}
        with contextlib.ExitStack() as opened:
            try:
                path = model_file(self._folder, request["files"], request["name"])
                path.parent.mkdir(exist_ok=True)
                file = opened.enter_context(path.open("wb", buffering=0))
            except (KeyError, ValueError) as error:
                failure = {"failure": f"the name of a file is not allowed ({error})"}
            except OSError as error:
                failure = {"failure": _not_stored(error)}
            while size:
                if not self._read:
                    self._read += self._piece()
                piece = bytes(self._read[:size])
                del self._read[:size]
                size -= len(piece)
                try:
                    while piece and not failure:
                        piece = piece[file.write(piece) :]
                except OSError as error:
                    failure = {"failure": _not_stored(error)}
                    shutil.rmtree(path.parent, ignore_errors=True)  # makes room for other models
        return failure

    def _piece(self) -> bytes:
        """Return some bytes; raise EOFError at the end of the input, or after a long silence."""
        if not select.select([self._source], [], [], self._silence_s)[0]:
            raise EOFError(f"the host gave no sign of life for {self._silence_s:g} s")
        piece = os.read(self._source, _PIECE)
        if not piece:
            raise EOFError
        return piece


class Answers:
    """The output to the host: answers, texts, and empty lines as a sign of life.

    Args:
        target: The descriptor that they are written to.
        folder: The folder to delete when the host is gone.
        silence_s: The seconds without any line after which the host takes this device for lost.
    """

    def __init__(self, target: int, folder: Path, silence_s: float = SILENCE_S) -> None:
        self._target = target
        self._folder = folder
        self._silence_s = silence_s
        self._lock = threading.Lock()
        self._id: object = None
        os.set_blocking(target, True)
        threading.Thread(target=self._show_life, daemon=True).start()

    def begin(self, request: dict[str, Any]) -> None:
        """Answer this request from now on."""
        self._id = request.get("id")

    def say(self, text: str) -> None:
        """Send a text for the user."""
        self.send("say", text)

    def send(self, kind: str, content: object) -> None:
        """Send a line about the present request."""
        self._write(json.dumps({"id": self._id, kind: content}).encode() + b"\n")

    def _show_life(self) -> None:
        while True:
            time.sleep(self._silence_s / SIGNS_PER_SILENCE)
            self._write(b"\n")

    def _write(self, data: bytes) -> None:
        try:
            with self._lock:
                while data:
                    data = data[os.write(self._target, data) :]
        except OSError:
            leave(self._folder)


def _report(reason: str) -> None:
    """Write to standard error, if that is possible at once."""
    with contextlib.suppress(OSError):
        os.set_blocking(2, False)
        os.write(2, reason.encode())


def leave(folder: Path) -> None:
    """End this process at once; the processes that hold its models end with it."""
    try:
        delete_run_folder(folder)
    finally:
        os._exit(0)


def model_file(folder: Path, files: object, name: object) -> Path:
    """Return the path of a model's file.

    Args:
        folder: The folder of the agent.
        files: The number of the folder with the files of one model.
        name: The name of the file, below `folder`.

    Raises:
        ValueError: It is not a number, or not a plain name.
    """
    if type(files) is not int or files < 0:
        raise ValueError(f"files: {files!r} is not a number")
    is_plain = isinstance(name, str) and name.isprintable() and not name.startswith(".")
    if not is_plain or not name or "/" in str(name):
        raise ValueError(f"name: {name!r} is not the plain name of a file")
    return folder / str(files) / str(name)


def _not_stored(error: OSError) -> str:
    return f"a file of the model cannot be stored on the device ({error.strerror})"
