"""Opens the database of a URL, SQLite or PostgreSQL, or says in one sentence why it cannot."""

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

from studies.storage import schema

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy.dialects import postgresql

_BUSY_SECONDS = 30.0
_EXAMPLES = "such as sqlite:///study.db or postgresql://user@host/name"
_ATTEMPTS = 5
_OPENING = 7_305_801  # any number that others do not lock: it stands for making the tables

# By SQLite's own name for the error; the longer names of a kind begin with it.
_SQLITE_REFUSALS = {
    "SQLITE_NOTADB": "is not a SQLite database",
    "SQLITE_CORRUPT": "is a damaged SQLite database",
    "SQLITE_CANTOPEN": "may not be opened or created by this user",
    "SQLITE_PERM": "may not be opened or created by this user",
    "SQLITE_READONLY": "may not be written by this user",
    "SQLITE_BUSY": "is locked by another program",
    "SQLITE_FULL": "has no room left on its disk",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """An open database whose tables are up to date."""

    url: sa.URL
    engine: sa.Engine

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction; on SQLite nobody else writes meanwhile."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One transaction that sees one moment of the database and blocks nobody."""
        options: dict[str, Any] = {"reading": True}
        if not _is_sqlite(self.url):
            options["isolation_level"] = "REPEATABLE READ"
        with self.engine.connect().execution_options(**options) as connection:
            yield connection

    def insert_new(self, connection: sa.Connection, table: sa.Table, **row: Any) -> bool:
        """Inserts a row unless its key is there already; says whether it did."""
        statement = self._insert(table).values(row).on_conflict_do_nothing()
        inserted = connection.execute(statement.returning(*table.primary_key))
        return inserted.first() is not None

    def _insert(self, table: sa.Table) -> "sqlite.Insert | postgresql.Insert":
        if _is_sqlite(self.url):
            return sqlite.insert(table)
        # It is slow to import, and most commands do without it.
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)

    def close(self) -> None:
        self.engine.dispose()

    def optuna_storage(self) -> "RDBStorage":
        """Optuna's own storage in this database; its tables are made where they are missing."""
        if not _is_sqlite(self.url):
            with self.write() as connection:
                _hold_others_off(connection)
                return self._open_optuna({"pool_pre_ping": True})
        # Here nobody can be held off, since Optuna itself has to write; two that make the tables in
        # the same moment get in each other's way, and one of them tries again.
        options = {"creator": lambda: _connect_sqlite(self.url, isolation_level="DEFERRED")}
        for pause in _pauses():
            with contextlib.suppress(sa.exc.DBAPIError):
                return self._open_optuna(options)
            time.sleep(pause)
        return self._open_optuna(options)

    def _open_optuna(self, options: dict[str, Any]) -> "RDBStorage":
        # Optuna is slow to import, and commands that only read do without it.
        from optuna.storages import RDBStorage

        # Optuna takes the URL for a template, and what braces are in it for its fields.
        template = self.url.render_as_string(hide_password=False)
        template = template.replace("{", "{{").replace("}", "}}")
        try:
            return RDBStorage(template, engine_kwargs=options)
        except RuntimeError:
            why = "holds tables of another release of Optuna; see `optuna storage upgrade`"
            raise _refusal(self.url, why) from None


def open_database(url: str, *, create: bool) -> Database:
    """The database of `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.

    Nothing is overwritten; without `create`, neither a missing file nor tables are made. Raises
    ValueError with one sentence.
    """
    parsed = _parse(url)
    if _is_sqlite(parsed):
        _check_file(parsed, create=create)
    engine = _engine(parsed)
    try:
        with engine.begin() as connection:
            if not _is_sqlite(parsed):
                _hold_others_off(connection)
            schema.prepare(connection, create=create)
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
    """The database of such a URL as it is: this program cannot change it, nor hold others up.

    Raises ValueError with one sentence, also for tables that an older release made: NotBegun where
    there is no file yet, or nothing in it.
    """
    parsed = _parse(url)
    if _is_sqlite(parsed):
        _check_file(parsed, create=False)
    database = Database(url=parsed, engine=_reading_engine(parsed))
    try:
        with database.read() as connection:
            schema.check(connection)
    except BaseException as error:
        database.close()
        if isinstance(error, ValueError):
            kind = schema.NotBegun if isinstance(error, schema.NotBegun) else ValueError
            raise _refusal(parsed, str(error), kind) from None
        if isinstance(error, sa.exc.DBAPIError):
            raise _refusal(parsed, _why(error)) from None
        raise
    return database


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        # Whatever it is, it may hold a password.
        shown = "what is given" if "@" in url else f"'{url}'"
        raise ValueError(f"storage: {shown} is not a database URL, {_EXAMPLES}") from None
    if parsed.drivername == "sqlite":
        if not parsed.database or parsed.database == ":memory:" or parsed.query:
            raise _refusal(parsed, f"does not name a file and nothing else, {_EXAMPLES}")
        return parsed
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        try:
            importlib.import_module("psycopg")
        except ImportError:
            hint = "needs psycopg: pip install 'hybrid-lm-search[postgresql]'"
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
            raise _refusal(url, f"lies in a folder that does not exist, '{path.parent}'")
        if path.is_dir():
            raise _refusal(url, "is a folder")
        if not path.exists():
            if create:
                return
            why = "does not exist; `nas run FILE` begins one"
            raise _refusal(url, why, schema.NotBegun)
    except OSError as error:
        raise _refusal(url, f"cannot be opened: {(error.strerror or '').lower()}") from None


def _engine(url: sa.URL) -> sa.Engine:
    if not _is_sqlite(url):
        return sa.create_engine(url, pool_pre_ping=True)
    engine = sa.create_engine(url, creator=lambda: _connect_sqlite(url, isolation_level=None))

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A transaction that reads before it writes would fail, not wait, if another wrote between.
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
    """isolation_level: the driver's; None leaves every BEGIN to the engine."""
    connection = sqlite3.connect(
        _path(url), timeout=_BUSY_SECONDS, isolation_level=isolation_level, check_same_thread=False
    )
    connection.execute("PRAGMA foreign_keys = ON")
    # With write-ahead logging a commit survives the death of the process without a sync of the
    # disk; after a power cut the last commits may be missing, and the file is whole.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _hold_others_off(connection: sa.Connection) -> None:
    """Until this transaction ends, nobody else makes tables. PostgreSQL only."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_OPENING)))


def _set_write_ahead(engine: sa.Engine) -> None:
    """A property of the file, set once it is known to be ours."""
    for pause in [*_pauses(), None]:
        try:
            # Not in a transaction, which an engine's own connection would begin.
            with contextlib.closing(engine.raw_connection()) as connection:
                if connection.cursor().execute("PRAGMA journal_mode").fetchone() != ("wal",):
                    connection.cursor().execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            # SQLite does not wait here for those who open the file in the same moment.
            if pause is None:
                raise ValueError("is locked by another program") from None
            time.sleep(pause)


def _pauses() -> Iterator[float]:
    """Seconds to wait after one attempt after another, different for each process."""
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
