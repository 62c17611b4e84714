"""What the streams of an Android device do: run a command, or store files.

The shell protocol has packets: a byte with their kind, the length in 32 bits, and data. The
protocol for files has requests: four letters, a length or a number, and data.
"""

import contextlib
import os
import queue
import signal
import struct
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

_PACKET = struct.Struct("<BI")
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_REQUEST = struct.Struct("<4sI")
_STAT = struct.Struct("<4s3I")


class Send(Protocol):
    """Sends a message of this stream to the host: OKAY, WRTE or CLSE."""

    def __call__(self, command: bytes, data: bytes = b"") -> None: ...


class Stream:
    """A stream between a host and the device; a thread serves it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._received: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._rest = b""
        self._acknowledged = threading.Semaphore(1)
        self._is_open = True

    def start(self) -> None:
        threading.Thread(target=self._serve, daemon=True).start()

    def receive(self, data: bytes) -> None:
        """Take data from the host; it is acknowledged once the stream takes it."""
        self._received.put(data)

    def acknowledge(self) -> None:
        """Allow the next write."""
        self._acknowledged.release()

    def hang_up(self) -> None:
        """End the stream, because the host has closed it or is gone."""
        self._is_open = False
        self._acknowledged.release(3)  # as many threads may wait
        self.receive(b"")

    def _serve(self) -> None:
        """Serve the stream until it ends."""
        raise NotImplementedError

    def _write(self, data: bytes) -> None:
        """Write data once the host has acknowledged what was written before."""
        self._acknowledged.acquire()
        if not self._is_open:
            raise BrokenPipeError
        self._send(b"WRTE", data)

    def _read(self, count: int) -> bytes:
        """Return that many bytes from the host; raise EOFError if the stream ends before."""
        while len(self._rest) < count:
            data = self._received.get()
            if not data:
                raise EOFError
            self._rest += data
            self._send(b"OKAY")
        data, self._rest = self._rest[:count], self._rest[count:]
        return data


class ShellStream(Stream):
    """A program that runs, with its standard streams and its exit code."""

    def __init__(self, send: Send, command: Sequence[str]) -> None:
        super().__init__(send)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True
        )

    def start(self) -> None:
        super().start()
        threading.Thread(target=self._feed, daemon=True).start()

    def hang_up(self) -> None:
        """End the program as adbd does: with a signal, and with closed pipes."""
        self._process.send_signal(signal.SIGHUP)
        super().hang_up()

    def _serve(self) -> None:
        process = self._process
        assert process.stdout is not None
        assert process.stderr is not None
        with process.stdout, process.stderr:
            sources = ((process.stdout.fileno(), _STDOUT), (process.stderr.fileno(), _STDERR))
            readers = [threading.Thread(target=self._pass_on, args=each) for each in sources]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()
        code = process.wait()
        with contextlib.suppress(OSError):
            self._write(_PACKET.pack(_EXIT, 1) + bytes([code & 0xFF]))
            self._send(b"CLSE")
        self.receive(b"")

    def _pass_on(self, source: int, kind: int) -> None:
        with contextlib.suppress(OSError):
            while piece := os.read(source, 1 << 14):
                self._write(_PACKET.pack(kind, len(piece)) + piece)

    def _feed(self) -> None:
        """Pass on what the host sends, until the program or the host ends."""
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(EOFError, OSError), stdin:
            while True:
                kind, length = _PACKET.unpack(self._read(_PACKET.size))
                left = memoryview(self._read(length))
                if kind == _CLOSE_STDIN:
                    return
                while left and kind == _STDIN:
                    left = left[os.write(stdin.fileno(), left) :]


class FileStream(Stream):
    """The files of the device, as `adb push` needs them: stored, and looked up."""

    def __init__(self, send: Send, root: Path) -> None:
        super().__init__(send)
        self._root = root

    def _serve(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                request, length = _REQUEST.unpack(self._read(_REQUEST.size))
                if request == b"QUIT":
                    self._send(b"CLSE")
                    return
                text = self._read(length).decode()
                if request in (b"STAT", b"LSTA"):
                    self._look_up(request, text)
                elif request == b"SEND":
                    self._store(*text.rsplit(",", 1))

    def _look_up(self, request: bytes, path: str) -> None:
        try:
            found = self._path(path).lstat()
        except OSError:
            self._write(_STAT.pack(request, 0, 0, 0))
        else:
            self._write(_STAT.pack(request, found.st_mode, found.st_size, int(found.st_mtime)))

    def _store(self, path: str, mode: str) -> None:
        """Store a file, and the folders above it; report whether it was possible."""
        failure = b""
        content = bytearray()
        while True:
            kind, number = _REQUEST.unpack(self._read(_REQUEST.size))
            if kind == b"DONE":
                break
            content += self._read(number)
        try:
            target = self._path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(int(mode) & 0o777)
            os.utime(target, (number, number))
        except OSError as error:
            failure = f"couldn't create file: {error.strerror}".encode()
        self._write(_REQUEST.pack(b"FAIL" if failure else b"OKAY", len(failure)) + failure)

    def _path(self, path: str) -> Path:
        return self._root / path.lstrip("/")
