"""A PostgreSQL server in a temporary folder, which listens on a socket there and on no port."""

import getpass
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import sqlalchemy as sa

_PROGRAMS = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.get_exec_path())]


class PostgresqlServer:
    """A server; `start` it before use, and `delete` it at the end."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="nas-postgresql-"))
        self._user = _not_root()
        shutil.chown(self._folder, self._user)
        data = self._folder / "data"
        self._call("initdb", "--auth=trust", "--username=tester", "--no-sync", data)
        self.url = sa.URL.create(
            "postgresql+psycopg",
            username="tester",
            database="postgres",
            query={"host": str(self._folder)},
        )

    def start(self) -> None:
        folder = self._folder
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        self._call(
            *("pg_ctl", "start", "--wait", "-D", folder / "data"),
            *("-o", options, "-l", folder / "log"),
        )

    def stop(self, mode: str = "immediate") -> None:
        self._call("pg_ctl", "stop", f"--mode={mode}", "-D", self._folder / "data")

    def delete(self) -> None:
        shutil.rmtree(self._folder)

    def new_database(self) -> str:
        """Create a database and return its URL."""
        name = f"test_{uuid.uuid4().hex}"
        server = sa.create_engine(self.url, isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        server.dispose()
        return self.url.set(database=name).render_as_string(hide_password=False)

    def _call(self, program: str, *arguments: str | Path) -> None:
        user = self._user if os.getuid() == 0 else None
        command = [self._programs / program, *arguments]
        done = subprocess.run(command, user=user, cwd=self._folder)
        assert done.returncode == 0, command


def postgresql_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; None if it is not installed."""
    return next((path for path in _PROGRAMS if (path / "initdb").exists()), None)


def _not_root() -> str:
    """Return the user that PostgreSQL runs as, because it refuses to run as root."""
    if os.getuid() != 0:
        return getpass.getuser()
    passwd = Path("/etc/passwd").read_text()
    return "postgres" if "\npostgres:" in passwd else "nobody"
