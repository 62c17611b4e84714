"""Makes SQLAlchemy engines for SQLite and PostgreSQL, with their locking and durability."""

import sqlite3
from typing import Literal

import sqlalchemy as sa

from studies.storage.database_url import file_of, is_sqlite
from studies.storage.read_only import connect_to_read, is_in_writable_folder

# How long SQLite waits for a lock. Ctrl-C has no effect during this wait, so it is short, and
# `Outages` repeats the transaction.
_BUSY_SECONDS = 1.0


def writing_engine(url: sa.URL) -> sa.Engine:
    """Return an engine whose transactions may write, unless they have the option `reading`."""
    if not is_sqlite(url):
        # What is read after a lock was obtained must be what its last holder has written, whatever
        # the default of the server is.
        return sa.create_engine(url, pool_pre_ping=True, isolation_level="READ COMMITTED")
    engine = sa.create_engine(url, creator=lambda: connect_sqlite(url, isolation_level=None))

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A deferred transaction that reads before it writes would fail instead of waiting if
        # another process wrote in between.
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def reading_engine(url: sa.URL) -> sa.Engine:
    """Return an engine whose transactions only read."""
    if not is_sqlite(url):
        only_reading = {"options": "-c default_transaction_read_only=on"}
        return sa.create_engine(url, pool_pre_ping=True, connect_args=only_reading)

    path = file_of(url)
    engine = sa.create_engine(
        url,
        creator=lambda: connect_to_read(path, _BUSY_SECONDS),
        poolclass=None if is_in_writable_folder(path) else sa.NullPool,
    )

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def connect_sqlite(
    url: sa.URL, *, isolation_level: Literal["DEFERRED"] | None
) -> sqlite3.Connection:
    """Connect to a file; with isolation_level None, the engine issues every BEGIN itself."""
    connection = sqlite3.connect(
        file_of(url),
        timeout=_BUSY_SECONDS,
        isolation_level=isolation_level,
        check_same_thread=False,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    # Every commit waits for the disk, so that a power failure loses none. This costs a fraction of
    # what a trial takes; see benchmarks/commit_cost.py.
    connection.execute("PRAGMA synchronous = FULL")
    return connection
