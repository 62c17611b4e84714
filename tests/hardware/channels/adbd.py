"""An Android device for the real `adb`: a server of its protocol, which runs commands here.

A message has a header of six 32-bit words (command, two arguments, the length and the sum of the
data, the command inverted) and data. A stream is opened with OPEN, each WRTE is acknowledged with
OKAY, and CLSE ends it. Inside a stream, the shell protocol has packets: a byte with their kind, the
length in 32 bits, and data.
"""

import contextlib
import itertools
import os
import queue
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Literal

Behaviour = Literal["works", "unauthorized", "old"]

_HEADER = struct.Struct("<6I")
_PACKET = struct.Struct("<BI")
_VERSION, _MOST_DATA = 0x01000001, 1 << 18
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_TOKEN = 1
_BANNER = b"device::ro.product.name=fake;ro.product.model=fake;features="


class Adbd:
    """A device that `adb connect` reaches at `serial`. Use it in `with`.

    Attributes:
        serial: Its address, which is also its serial number for adb.
    """

    def __init__(self, behaviour: Behaviour = "works", shell: Sequence[str] = ("sh", "-c")) -> None:
        """Listen on a free port.

        Args:
            behaviour: `unauthorized` requests a signature and never accepts one; `old` has no shell
                protocol, as Android before version 7.
            shell: What runs a command, which is appended to it.
        """
        self._behaviour = behaviour
        self._shell = shell
        self._server = socket.create_server(("127.0.0.1", 0))
        self._links: list[_Link] = []
        self.serial = f"127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> "Adbd":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # also while a thread waits for a host
        self._server.close()
        self.disconnect()

    def disconnect(self) -> None:
        """Cut the connection to every host, as a loose cable does."""
        for link in self._links:
            link.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link = _Link(self._server.accept()[0], self._behaviour, self._shell)
                self._links.append(link)
                threading.Thread(target=link.serve, daemon=True).start()


class _Link:
    """A connection to a host, with its streams."""

    def __init__(
        self, connection: socket.socket, behaviour: Behaviour, shell: Sequence[str]
    ) -> None:
        self._connection = connection
        self._behaviour = behaviour
        self._shell = shell
        self._streams: dict[int, _Shell] = {}
        self._numbers = itertools.count(1)
        self._sending = threading.Lock()

    def serve(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                command, first, second, length, _, _ = _HEADER.unpack(self._read(_HEADER.size))
                data = self._read(length)
                self._handle(command.to_bytes(4, "little"), first, second, data)
        for stream in list(self._streams.values()):
            stream.hang_up()
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def send(self, command: bytes, first: int, second: int, data: bytes = b"") -> None:
        word = int.from_bytes(command, "little")
        header = _HEADER.pack(word, first, second, len(data), sum(data), word ^ 0xFFFFFFFF)
        with self._sending:
            self._connection.sendall(header + data)

    def _handle(self, command: bytes, first: int, second: int, data: bytes) -> None:
        match command:
            case b"CNXN" | b"AUTH" if self._behaviour == "unauthorized":
                self.send(b"AUTH", _TOKEN, 0, bytes(20))
            case b"CNXN":
                features = b"cmd" if self._behaviour == "old" else b"shell_v2,cmd"
                self.send(b"CNXN", _VERSION, _MOST_DATA, _BANNER + features)
            case b"OPEN":
                self._open(first, data.rstrip(b"\0").decode())
            case b"WRTE" if second in self._streams:
                self._streams[second].receive(data)
            case b"OKAY" if second in self._streams:
                self._streams[second].acknowledge()
            case b"CLSE":
                if second in self._streams:
                    self._streams.pop(second).hang_up()

    def _open(self, host_id: int, service: str) -> None:
        kind, _, command = service.partition(":")
        if kind.split(",")[0] != "shell" or not {"v2", "raw"} <= set(kind.split(",")):
            self.send(b"CLSE", 0, host_id)
            return
        number = next(self._numbers)
        self.send(b"OKAY", number, host_id)

        def write(data: bytes) -> None:
            self.send(b"WRTE", number, host_id, data)

        def accept() -> None:
            self.send(b"OKAY", number, host_id)

        def close() -> None:
            if self._streams.pop(number, None) is not None:
                self.send(b"CLSE", number, host_id)

        self._streams[number] = _Shell([*self._shell, command], write, accept, close)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._connection.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data


class _Shell:
    """A program that runs in a stream.

    Args:
        command: The program.
        write: Sends data to the host, which acknowledges it.
        accept: Acknowledges the data from the host.
        close: Ends the stream.
    """

    def __init__(
        self,
        command: Sequence[str],
        write: Callable[[bytes], None],
        accept: Callable[[], None],
        close: Callable[[], None],
    ) -> None:
        self._write = write
        self._accept = accept
        self._close = close
        self._received: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._acknowledged = threading.Semaphore(1)
        self._is_open = True
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        for work in (self._feed, self._run):
            threading.Thread(target=work, daemon=True).start()

    def receive(self, data: bytes) -> None:
        """Take data from the host; it is acknowledged once the program has read it."""
        self._received.put(data)

    def acknowledge(self) -> None:
        """Allow the next write."""
        self._acknowledged.release()

    def hang_up(self) -> None:
        """End the program as adbd does when its host is gone: with a signal and closed pipes."""
        self._is_open = False
        self._process.send_signal(signal.SIGHUP)
        self._acknowledged.release(3)  # both outputs and the exit code may wait
        self.receive(b"")

    def _feed(self) -> None:
        """Pass what the host sends on to the program, until the program or the host ends."""
        assert self._process.stdin is not None
        received = b""
        while data := self._received.get():
            received += data
            while len(received) >= _PACKET.size:
                kind, length = _PACKET.unpack_from(received)
                if len(received) < _PACKET.size + length:
                    break
                content = received[_PACKET.size : _PACKET.size + length]
                received = received[_PACKET.size + length :]
                with contextlib.suppress(OSError, ValueError):  # the program no longer reads
                    if kind == _STDIN:
                        self._process.stdin.write(content)
                        self._process.stdin.flush()
                    elif kind == _CLOSE_STDIN:
                        self._process.stdin.close()
            with contextlib.suppress(OSError):
                self._accept()
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _run(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        readers = [
            threading.Thread(target=self._pass_on, args=(source.fileno(), kind), daemon=True)
            for source, kind in ((self._process.stdout, _STDOUT), (self._process.stderr, _STDERR))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        code = self._process.wait()
        with contextlib.suppress(OSError):
            self._send(_EXIT, bytes([code & 0xFF]))
            self._close()
        self._process.stdout.close()
        self._process.stderr.close()
        self.receive(b"")

    def _pass_on(self, source: int, kind: int) -> None:
        with contextlib.suppress(OSError):
            while piece := os.read(source, 1 << 14):
                self._send(kind, piece)

    def _send(self, kind: int, content: bytes) -> None:
        self._acknowledged.acquire()
        if not self._is_open:
            raise BrokenPipeError
        self._write(_PACKET.pack(kind, len(content)) + content)
