"""Opens the SQLite or PostgreSQL database at a URL; errors are reported as one sentence."""

import contextlib
import importlib
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from studies.storage import migrations

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy.dialects import postgresql

_BUSY_SECONDS = 30.0
_EXAMPLES = "such as sqlite:///study.db or postgresql://user@host/name"
_ATTEMPTS = 5
_OPENING = 7_305_801  # the key of the lock on creating tables: any number that nothing else locks

# By the prefix of SQLite's error name; extended error names start with the name of their kind.
_SQLITE_REFUSALS = {
    "SQLITE_NOTADB": "is not a SQLite database",
    "SQLITE_CORRUPT": "is a damaged SQLite database",
    "SQLITE_CANTOPEN": "cannot be opened or created by this user",
    "SQLITE_PERM": "cannot be opened or created by this user",
    "SQLITE_READONLY": "cannot be written by this user",
    "SQLITE_BUSY": "is locked by another program",
    "SQLITE_FULL": "is on a disk that is full",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """An open database whose tables are up to date.

    Attributes:
        url: The URL of the database.
        engine: The connections to it.
    """

    url: sa.URL
    engine: sa.Engine

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that may write; with SQLite, no other process writes meanwhile."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that reads a consistent snapshot and blocks no other process."""
        options: dict[str, Any] = {"reading": True}
        if not _is_sqlite(self.url):
            options["isolation_level"] = "REPEATABLE READ"
        with self.engine.connect().execution_options(**options) as connection:
            yield connection

    def insert_new(self, connection: sa.Connection, table: sa.Table, **row: Any) -> bool:
        """Insert a row unless a row with this key exists.

        Args:
            connection: An open transaction.
            table: The table.
            **row: The values by column.

        Returns:
            Whether the row was inserted.
        """
        statement = self._insert(table).values(row).on_conflict_do_nothing()
        inserted = connection.execute(statement.returning(*table.primary_key))
        return inserted.first() is not None

    def _insert(self, table: sa.Table) -> "sqlite.Insert | postgresql.Insert":
        if _is_sqlite(self.url):
            return sqlite.insert(table)
        # This is slow to import, and SQLite does not need it.
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def optuna_storage(self) -> "RDBStorage":
        """Return Optuna's storage in this database; missing tables are created."""
        if not _is_sqlite(self.url):
            with self.write() as connection:
                _lock_creation(connection)
                return self._open_optuna({"pool_pre_ping": True})
        # SQLite cannot be locked here, since Optuna itself has to write. If two processes create
        # the tables at the same time, one of them fails and retries.
        options = {"creator": lambda: _connect_sqlite(self.url, isolation_level="DEFERRED")}
        for pause in _pauses():
            with contextlib.suppress(sa.exc.DBAPIError):
                return self._open_optuna(options)
            time.sleep(pause)
        return self._open_optuna(options)

    def _open_optuna(self, options: dict[str, Any]) -> "RDBStorage":
        # Optuna is slow to import, and commands that only read do not need it.
        from optuna.storages import RDBStorage

        # Optuna treats the URL as a template, and braces in it as fields.
        template = self.url.render_as_string(hide_password=False)
        template = template.replace("{", "{{").replace("}", "}}")
        try:
            return RDBStorage(template, engine_kwargs=options)
        except RuntimeError:
            why = "has tables of another release of Optuna; see `optuna storage upgrade`"
            raise _refusal(self.url, why) from None


class StorePart:
    """Methods of a `Store` that belong together; each is one transaction of its database."""

    def __init__(self, database: Database) -> None:
        self._database = database


def open_database(url: str, *, create: bool) -> Database:
    """Open a database for reading and writing, and bring its tables up to date.

    Nothing is overwritten.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
        create: Whether to create a missing file and missing tables.

    Raises:
        ValueError: The database cannot be opened, belongs to another program or a newer release,
            or is missing and not to be created.
    """
    parsed = _parse(url)
    if _is_sqlite(parsed):
        _check_file(parsed, create=create)
    engine = _engine(parsed)
    try:
        with engine.begin() as connection:
            if not _is_sqlite(parsed):
                _lock_creation(connection)
            migrations.prepare(connection, create=create)
        if _is_sqlite(parsed):
            _set_write_ahead(engine)
    except BaseException as error:
        engine.dispose()
        if isinstance(error, ValueError):
            raise _refusal(parsed, str(error)) from None
        if isinstance(error, sa.exc.DBAPIError):
            raise _refusal(parsed, _why(error)) from None
        raise
    return Database(url=parsed, engine=engine)


def open_to_read(url: str) -> Database:
    """Open a database for reading only; writers never wait for its transactions.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.

    Raises:
        NotBegun: There is no file yet, or it is empty.
        ValueError: The database cannot be opened, belongs to another program, or has tables of an
            older or newer release.
    """
    parsed = _parse(url)
    if _is_sqlite(parsed):
        _check_file(parsed, create=False)
    database = Database(url=parsed, engine=_reading_engine(parsed))
    try:
        with database.read() as connection:
            migrations.check(connection)
    except BaseException as error:
        database.close()
        if isinstance(error, ValueError):
            kind = migrations.NotBegun if isinstance(error, migrations.NotBegun) else ValueError
            raise _refusal(parsed, str(error), kind) from None
        if isinstance(error, sa.exc.DBAPIError):
            raise _refusal(parsed, _why(error)) from None
        raise
    return database


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        # A malformed URL may still contain a password.
        shown = "the given text" if "@" in url else f"'{url}'"
        raise ValueError(f"storage: {shown} is not a database URL, {_EXAMPLES}") from None
    if parsed.drivername == "sqlite":
        if not parsed.database or parsed.database == ":memory:" or parsed.query:
            raise _refusal(parsed, f"must name a file, without options, {_EXAMPLES}")
        return parsed
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        try:
            importlib.import_module("psycopg")
        except ImportError:
            hint = "requires psycopg; install it with pip install 'hybrid-lm-search[postgresql]'"
            raise _refusal(parsed, hint) from None
        return parsed.set(drivername="postgresql+psycopg")
    raise _refusal(parsed, f"is not a database of SQLite or PostgreSQL, {_EXAMPLES}")


def _is_sqlite(url: sa.URL) -> bool:
    return url.drivername == "sqlite"


def _path(url: sa.URL) -> Path:
    assert url.database is not None
    return Path(url.database)


def _check_file(url: sa.URL, *, create: bool) -> None:
    path = _path(url)
    try:
        if not path.parent.is_dir():
            raise _refusal(url, f"is in a folder that does not exist, '{path.parent}'")
        if path.is_dir():
            raise _refusal(url, "is a folder")
        if not path.exists():
            if create:
                return
            where = "" if path.is_absolute() else f" in '{path.absolute().parent}'"
            why = f"does not exist{where}; `nas run FILE` creates it"
            raise _refusal(url, why, migrations.NotBegun)
    except OSError as error:
        raise _refusal(url, f"cannot be opened: {(error.strerror or '').lower()}") from None


def _engine(url: sa.URL) -> sa.Engine:
    if not _is_sqlite(url):
        # What is read after a lock was obtained must be what its last holder has written, whatever
        # the default of the server is.
        return sa.create_engine(url, pool_pre_ping=True, isolation_level="READ COMMITTED")
    engine = sa.create_engine(url, creator=lambda: _connect_sqlite(url, isolation_level=None))

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A deferred transaction that reads before it writes would fail instead of waiting if
        # another process wrote in between.
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _reading_engine(url: sa.URL) -> sa.Engine:
    if not _is_sqlite(url):
        only_reading = {"options": "-c default_transaction_read_only=on"}
        return sa.create_engine(url, pool_pre_ping=True, connect_args=only_reading)

    file = f"{_path(url).absolute().as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            file, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )

    engine = sa.create_engine(url, creator=connect)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _connect_sqlite(
    url: sa.URL, *, isolation_level: Literal["DEFERRED"] | None
) -> sqlite3.Connection:
    """Connect to a file; with isolation_level None, the engine issues every BEGIN itself."""
    connection = sqlite3.connect(
        _path(url), timeout=_BUSY_SECONDS, isolation_level=isolation_level, check_same_thread=False
    )
    connection.execute("PRAGMA foreign_keys = ON")
    # With write-ahead logging, a commit survives the death of the process without a sync of the
    # disk. After a power failure, the last commits may be missing, but the file is intact.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _lock_creation(connection: sa.Connection) -> None:
    """Let no other process create tables until this transaction ends (PostgreSQL only)."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_OPENING)))


def _set_write_ahead(engine: sa.Engine) -> None:
    """Set the journal mode, a property of the file, once the file is known to be ours."""
    for pause in [*_pauses(), None]:
        try:
            # A connection of the engine would start a transaction, in which this is not allowed.
            with contextlib.closing(engine.raw_connection()) as connection:
                if connection.cursor().execute("PRAGMA journal_mode").fetchone() != ("wal",):
                    connection.cursor().execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            # SQLite does not wait here for other processes that open the file at the same time.
            if pause is None:
                raise ValueError("is locked by another program") from None
            time.sleep(pause)


def _pauses() -> Iterator[float]:
    """Yield the seconds to wait after each failed attempt, which differ between processes."""
    for _ in range(_ATTEMPTS - 1):
        yield random.uniform(0.05, 0.5)  # noqa: S311 - no secret depends on it


def _why(error: sa.exc.DBAPIError) -> str:
    code = getattr(error.orig, "sqlite_errorname", None)
    for name, sentence in _SQLITE_REFUSALS.items():
        if code is not None and code.startswith(name):
            return sentence
    lines = [line.strip() for line in str(error.orig).splitlines() if line.strip()]
    return f"cannot be opened: {lines[0] if lines else type(error.orig).__name__}"


def _refusal(url: sa.URL, why: str, kind: type[ValueError] = ValueError) -> ValueError:
    return kind(f"storage: '{url.render_as_string(hide_password=True)}' {why}")
