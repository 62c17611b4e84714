"""A network of its own, which is connected to that of the tests by one link that can be cut."""

import contextlib
import os
import shutil
import signal
import subprocess


class NetworkNamespace:
    """A network namespace with one address. Use it in `with`; its processes end with it.

    Attributes:
        address: Its address, which this machine can reach.
        within: A command that runs another one in it.
    """

    def __init__(self) -> None:
        number = os.getpid()
        self._name = f"nas-test-{number}"
        self._here, self._there = f"nasa{number}", f"nasb{number}"
        # A range for tests of networks (RFC 2544), with two addresses for each process.
        base = 4 * (number % 30_000)
        near, far = (f"198.{18 + (base >> 16)}.{base >> 8 & 255}.{base + n & 255}" for n in (1, 2))
        self._near, self.address = near, far
        self.within = ("ip", "netns", "exec", self._name)

    def __enter__(self) -> "NetworkNamespace":
        with contextlib.ExitStack() as opened:
            _ip("netns", "add", self._name)
            opened.callback(_ip, "netns", "delete", self._name)
            opened.callback(self._kill_processes)
            peer = ("peer", self._there, "netns", self._name)
            _ip("link", "add", self._here, "type", "veth", *peer)
            opened.callback(_ip, "link", "delete", self._here)
            _ip("address", "add", f"{self._near}/30", "dev", self._here)
            _ip("link", "set", self._here, "up")
            _ip("-netns", self._name, "address", "add", f"{self.address}/30", "dev", self._there)
            self.connect()
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def cut(self) -> None:
        """Lose all packets from now on; neither end is told."""
        _ip("-netns", self._name, "link", "set", self._there, "down")

    def connect(self) -> None:
        _ip("-netns", self._name, "link", "set", self._there, "up")

    def _kill_processes(self) -> None:
        for pid in _ip("netns", "pids", self._name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def namespaces_work() -> bool:
    """Return whether this user can create such networks here."""
    if os.getuid() != 0 or shutil.which("ip") is None:
        return False
    try:
        with NetworkNamespace():
            return True
    except subprocess.CalledProcessError:
        return False


def _ip(*arguments: str) -> str:
    return subprocess.run(
        ["ip", *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ).stdout
