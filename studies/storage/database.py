"""Opens the SQLite or PostgreSQL database at a URL; errors are reported as one sentence."""

import contextlib
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from studies.owner import SignsOfLife
from studies.storage import migrations
from studies.storage.database_url import check_file, file_of, is_sqlite, parse_url
from studies.storage.engines import connect_sqlite, reading_engine, writing_engine
from studies.storage.outages import Outages
from studies.storage.read_only import is_in_writable_folder, needs_copy, temporary_copy
from studies.storage.refusals import completed, reason, refusal, shown, translated
from studies.storage.watched_file import (
    FileIdentity,
    WatchedFile,
    file_identity,
    is_other_file,
)

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy.dialects import postgresql

_ATTEMPTS = 5
_OPENING = 7_305_801  # the key of the lock on creating tables: any number that nothing else locks


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """An open database whose tables are up to date.

    Attributes:
        url: The URL of the database.
        engine: The connections to it.
        watched: The file of a SQLite database that is open for writing; otherwise None.
        identity: The file of a SQLite database that is open for reading.
        resources: What is closed with the database.
        signs_of_life: The signs of life of other processes that work on it.
        outages: How this process waits while it cannot be reached.
    """

    url: sa.URL
    engine: sa.Engine
    watched: WatchedFile | None = None
    identity: FileIdentity | None = None
    resources: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    signs_of_life: SignsOfLife = field(default_factory=SignsOfLife)
    outages: Outages = field(init=False)

    def __post_init__(self) -> None:
        # While no process can reach the database, none can give a sign of life.
        outages = Outages(shown(self.url), on_outage=self.signs_of_life.forget)
        object.__setattr__(self, "outages", outages)

    def is_replaced(self) -> bool:
        """Return whether the file that is open for reading was deleted or replaced."""
        return self.identity is not None and is_other_file(file_of(self.url), self.identity)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that may write; with SQLite, no other process writes meanwhile."""
        with translated(self.url):
            lost = self._lost_file()
            with self.engine.begin() if lost is None else lost.transaction() as connection:
                yield connection
            self._rescue_if_lost()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that reads a consistent snapshot and blocks no other process."""
        options: dict[str, Any] = {"reading": True}
        if not is_sqlite(self.url):
            options["isolation_level"] = "REPEATABLE READ"
        with translated(self.url):
            lost = self._lost_file()
            transaction: AbstractContextManager[sa.Connection] = (
                self.engine.connect().execution_options(**options)
                if lost is None
                else lost.transaction()
            )
            with transaction as connection:
                yield connection

    def _lost_file(self) -> WatchedFile | None:
        """Return the file that was opened, if it was deleted or replaced in the meantime."""
        return self.watched if self.watched is not None and self.watched.is_gone() else None

    def _rescue_if_lost(self) -> None:
        lost = self._lost_file()
        if lost is not None:
            raise lost.rescue()

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
        if is_sqlite(self.url):
            return sqlite.insert(table)
        # This is slow to import, and SQLite does not need it.
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        self.resources.close()

    def optuna_storage(self) -> "RDBStorage":
        """Return Optuna's storage in this database; missing tables are created."""
        if not is_sqlite(self.url):
            with self.write() as connection:
                _lock_creation(connection)
                return self._open_optuna({"pool_pre_ping": True})
        # SQLite cannot be locked here, since Optuna itself has to write. If two processes create
        # the tables at the same time, one of them fails and retries.
        options = {"creator": self._connect_for_optuna}
        for pause in _pauses():
            with contextlib.suppress(sa.exc.DBAPIError):
                return self._open_optuna(options)
            time.sleep(pause)
        with translated(self.url):
            return self._open_optuna(options)

    def _connect_for_optuna(self) -> sqlite3.Connection:
        self._rescue_if_lost()
        return connect_sqlite(self.url, isolation_level="DEFERRED")

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
            raise refusal(self.url, why) from None


class StorePart:
    """Methods of a `Store` that belong together; each is one transaction of its database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def outages(self) -> Outages:
        """How this process waits while the database cannot be reached."""
        return self._database.outages


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
    parsed = parse_url(url)
    if is_sqlite(parsed):
        check_file(parsed, create=create)
    database = Database(url=parsed, engine=writing_engine(parsed))

    def prepare() -> None:
        with database.write() as connection:
            if not is_sqlite(parsed):
                _lock_creation(connection)
            migrations.prepare(connection, create=create)

    with _closed_on_error(database):
        if is_sqlite(parsed):
            database.outages.survive(prepare)
            _set_write_ahead(database.engine)
        else:
            # If a server does not answer the first time, its URL is probably wrong.
            prepare()
    if not is_sqlite(parsed):
        return database
    watched = WatchedFile(
        file_of(parsed),
        lambda: connect_sqlite(parsed, isolation_level=None),
        shown=shown(parsed),
    )
    database.resources.callback(watched.close)
    return replace(database, watched=watched)


def open_to_read(url: str, *, update: bool = False) -> Database:
    """Open a database for reading only; writers never wait for its transactions.

    A file in a folder that this user cannot write is copied to a temporary folder if it cannot be
    read otherwise; see `read_only.connect_to_read`.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
        update: Whether to bring tables of an older release up to date first.

    Raises:
        NotBegun: There is no file yet, or it is empty.
        ValueError: The database cannot be opened, belongs to another program, or has tables of an
            older or newer release.
    """
    parsed = parse_url(url)
    identity = None
    if is_sqlite(parsed):
        check_file(parsed, create=False)
        if needs_copy(file_of(parsed)):
            return _open_copy(parsed)
        identity = file_identity(file_of(parsed))
    database = Database(url=parsed, engine=reading_engine(parsed), identity=identity)
    with _closed_on_error(database):
        try:
            with database.read() as connection:
                migrations.check(connection)
            return database
        except migrations.OlderRelease:
            is_read_only = is_sqlite(parsed) and not is_in_writable_folder(file_of(parsed))
            if not (is_read_only or update):
                raise
    database.close()
    if is_read_only:
        return _open_copy(parsed)
    open_database(url, create=False).close()
    return open_to_read(url)


@contextmanager
def _closed_on_error(database: Database) -> Iterator[None]:
    """Close a database that cannot be used, and report the error as a sentence about it."""
    try:
        yield
    except BaseException as error:
        database.close()
        if isinstance(error, ValueError | sa.exc.DBAPIError):
            raise completed(database.url, error) from None
        raise


def _open_copy(url: sa.URL) -> Database:
    """Open a temporary copy of a SQLite database for reading."""
    with contextlib.ExitStack() as resources:
        try:
            copy = url.set(database=str(resources.enter_context(temporary_copy(file_of(url)))))
        except OSError as error:
            why = f"cannot be copied to a temporary folder: {(error.strerror or '').lower()}"
            raise refusal(url, why) from None
        try:
            open_database(copy.render_as_string(), create=False).close()
        except ValueError as error:
            raise type(error)(str(error).replace(shown(copy), shown(url))) from None
        identity = file_identity(file_of(url))
        database = Database(url=url, engine=reading_engine(copy), identity=identity)
        database.resources.push(resources.pop_all())
        return database


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
        except sqlite3.OperationalError as error:
            # SQLite does not wait here for other processes that open the file at the same time.
            if pause is None or not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise ValueError(reason(error)) from None
            time.sleep(pause)


def _pauses() -> Iterator[float]:
    """Yield the seconds to wait after each failed attempt, which differ between processes."""
    for _ in range(_ATTEMPTS - 1):
        yield random.uniform(0.05, 0.5)  # noqa: S311 - no secret depends on it
