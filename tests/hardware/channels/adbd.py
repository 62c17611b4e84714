"""An Android device for the real `adb`: a server of its protocol, which runs commands here.

A message has a header of six 32-bit words (command, two arguments, the length and the sum of the
data, the command inverted) and data. A stream is opened with OPEN, each WRTE is acknowledged with
OKAY, and CLSE ends it.
"""

import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tests.hardware.channels.adbd_streams import FileStream, ShellStream, Stream

Behaviour = Literal["works", "unauthorized", "old"]

_HEADER = struct.Struct("<6I")
_VERSION, _MOST_DATA = 0x01000001, 1 << 18
_TOKEN = 1
_BANNER = b"device::ro.product.name=fake;ro.product.model=fake;features="


class Adbd:
    """A device that `adb connect` reaches at `serial`. Use it in `with`.

    Attributes:
        serial: Its address, which is also its serial number for adb.
    """

    def __init__(
        self,
        behaviour: Behaviour = "works",
        shell: Sequence[str] = ("sh", "-c"),
        root: Path = Path("/"),
    ) -> None:
        """Listen on a free port.

        Args:
            behaviour: `unauthorized` requests a signature and never accepts one; `old` has no shell
                protocol, as Android before version 7.
            shell: What runs a command, which is appended to it.
            root: Where the files of the device are.
        """
        self._behaviour = behaviour
        self._shell = shell
        self._root = root
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
                link = _Link(self._server.accept()[0], self._behaviour, self._shell, self._root)
                self._links.append(link)
                threading.Thread(target=link.serve, daemon=True).start()


class _Link:
    """A connection to a host, with its streams."""

    def __init__(
        self,
        connection: socket.socket,
        behaviour: Behaviour,
        shell: Sequence[str],
        root: Path,
    ) -> None:
        self._connection = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # answers are short
        self._behaviour = behaviour
        self._shell = shell
        self._root = root
        self._streams: dict[int, Stream] = {}
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
        number = next(self._numbers)

        def send(command: bytes, data: bytes = b"") -> None:
            self.send(command, number, host_id, data)
            if command == b"CLSE":
                self._streams.pop(number, None)

        kind, _, command = service.partition(":")
        if kind == "sync":
            self._streams[number] = FileStream(send, self._root)
        elif kind.startswith("shell,v2"):  # adb push creates folders in a terminal
            self._streams[number] = ShellStream(send, [*self._shell, command])
        else:
            self.send(b"CLSE", 0, host_id)
            return
        send(b"OKAY")
        self._streams[number].start()

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._connection.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data
