"""An ssh server on the loopback interface, with keys of its own, and a client that knows them."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from hardware.remote.bootstrap import FOLDER_VARIABLE

_PROGRAMS = (*os.get_exec_path(), "/usr/sbin", "/sbin")


class SshServer:
    """A server; `start` it before use, and `stop` it at the end.

    Attributes:
        client: A program that calls `ssh` with the server's configuration.
        device_folder: Where agents keep their files.
        host: The name under which the client knows the server.
    """

    host = "board"

    def __init__(
        self, folder: Path, address: str = "127.0.0.1", within: Sequence[str] = ()
    ) -> None:
        """Write the keys and settings of a server.

        Args:
            folder: Where they and the files of agents are stored.
            address: Where it listens.
            within: A command that the server is started with, such as `ip netns exec NAME`.
        """
        self.folder = folder
        self.device_folder = folder / "device"
        self._address = address
        self._within = tuple(within)
        folder.chmod(0o755)
        self.port = _free_port()
        for name in ("host_key", "user_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True
            )
        authorized = folder / "authorized_keys"
        authorized.write_text((folder / "user_key.pub").read_text())
        authorized.chmod(0o600)
        self._write(
            "known_hosts", f"[{address}]:{self.port} {(folder / 'host_key.pub').read_text()}"
        )
        self._write(
            "sshd_config",
            f"Port {self.port}\nListenAddress {address}\nHostKey {folder}/host_key\n"
            f"AuthorizedKeysFile {authorized}\nPidFile none\nUsePAM no\nStrictModes no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"SetEnv {FOLDER_VARIABLE}={self.device_folder}\n",
        )
        self._write(
            "ssh_config",
            f"Host {self.host}\n  HostName {address}\n  Port {self.port}\n"
            f"  User {getpass.getuser()}\n  IdentityFile {folder}/user_key\n"
            f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n"
            "  GlobalKnownHostsFile /dev/null\n",
        )
        self.client = str(self._write("ssh", f'#!/bin/sh\nexec ssh -F {folder}/ssh_config "$@"\n'))
        Path(self.client).chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)  # where the server of Debian separates privileges
        program = find_sshd()
        assert program is not None
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self._within, program, "-D", "-e", "-f", self.folder / "sshd_config"],
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.is_reachable():
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def is_reachable(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex((self._address, self.port)) == 0

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


def find_sshd() -> str | None:
    """Return the path of the server; None if it is missing, or if this user cannot start it."""
    if os.getuid() != 0 and not Path("/run/sshd").is_dir():
        return None
    return shutil.which("sshd", path=os.pathsep.join(_PROGRAMS))


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])
