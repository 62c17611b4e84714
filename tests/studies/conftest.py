"""Databases for the tests of studies: SQLite files, and PostgreSQL where it is installed."""

import getpass
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from studies.spec.study_spec import StudySpec
from studies.storage.store import Store
from tests.studies.fakes import small_spec

_PROGRAMS = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.get_exec_path())]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a database that is empty or does not exist yet."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def spec(sqlite_url: str) -> StudySpec:
    return small_spec(sqlite_url)


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    with Store.open(sqlite_url) as store:
        yield store


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


@pytest.fixture
def postgresql_url(postgresql_server: sa.URL) -> str:
    """The URL of a new database on the server of the test session."""
    name = f"test_{uuid.uuid4().hex}"
    server = sa.create_engine(postgresql_server, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    server.dispose()
    return postgresql_server.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[sa.URL]:
    """A server in a temporary folder that listens on a socket there and on no port."""
    pytest.importorskip("psycopg")
    programs = next((path for path in _PROGRAMS if (path / "initdb").exists()), None)
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="nas-postgresql-"))
    user = _not_root()
    shutil.chown(folder, user)

    def call(*command: str | Path) -> None:
        done = subprocess.run(command, user=user if os.getuid() == 0 else None, cwd=folder)
        assert done.returncode == 0, command

    data, control = folder / "data", programs / "pg_ctl"
    call(programs / "initdb", "--auth=trust", "--username=tester", "--no-sync", data)
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
    call(control, "start", "--wait", "-D", data, "-o", options, "-l", folder / "log")
    try:
        url = sa.URL.create("postgresql+psycopg", username="tester", database="postgres")
        yield url.set(query={"host": str(folder)})
    finally:
        call(control, "stop", "--mode=immediate", "-D", data)
        shutil.rmtree(folder)


def _not_root() -> str:
    """Return the user that PostgreSQL runs as, because it refuses to run as root."""
    if os.getuid() != 0:
        return getpass.getuser()
    passwd = Path("/etc/passwd").read_text()
    return "postgres" if "\npostgres:" in passwd else "nobody"
