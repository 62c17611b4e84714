"""Databases for the tests of studies: SQLite files, and PostgreSQL where it is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from studies.spec.study_spec import StudySpec
from studies.storage.store import Store
from tests.studies.fakes import small_spec
from tests.studies.postgresql import PostgresqlServer, postgresql_programs


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
def postgresql_url(postgresql_server: PostgresqlServer) -> str:
    """The URL of a new database on the server of the test session."""
    return postgresql_server.new_database()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A server that tests leave running."""
    yield from _running_server()


@pytest.fixture
def own_server() -> Iterator[PostgresqlServer]:
    """A server that the test may stop and start again."""
    yield from _running_server()


def _running_server() -> Iterator[PostgresqlServer]:
    pytest.importorskip("psycopg")
    programs = postgresql_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    server = PostgresqlServer(programs)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        server.delete()
