"""A server of the real `adb` for the devices of a test, apart from that of the user."""

import shutil
import socket
import subprocess
from pathlib import Path


class AdbServer:
    """A server with keys of its own. Use it in `with`.

    Attributes:
        client: A program that calls `adb` with this server.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        path = folder / "adb"
        path.write_text(
            f"#!/bin/sh\nexport HOME='{folder}' ANDROID_ADB_SERVER_PORT={port}\n"
            f"exec '{shutil.which('adb')}' \"$@\"\n"
        )
        path.chmod(0o755)
        self.client = str(path)

    def __enter__(self) -> "AdbServer":
        self.run("start-server")
        return self

    def __exit__(self, *_: object) -> None:
        self.run("kill-server")

    def run(self, *arguments: str) -> str:
        """Run adb and return what it prints."""
        ended = subprocess.run(
            [self.client, *arguments], capture_output=True, text=True, check=True, timeout=60
        )
        return ended.stdout

    def states(self) -> dict[str, str]:
        """Return the state of each device by its serial number."""
        lines = self.run("devices").splitlines()[1:]
        return dict(line.split("\t") for line in lines if line)


def is_installed() -> bool:
    """Return whether adb is installed."""
    return shutil.which("adb") is not None
