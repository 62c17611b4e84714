"""Notices that the SQLite file was deleted or replaced during a run, and rescues what it contained.

A process that has a file open can read and write it after its deletion, until the last connection
is closed. Without this check, a search would continue for days and leave nothing.
"""

import errno
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import sqlalchemy as sa

from studies.storage.file_copies import copy_database, create_numbered

# The numbers of the device and of the file on it.
FileIdentity: TypeAlias = tuple[int, int]

# Nothing is at a path, not even its folder, or a link that leads back to itself.
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class DatabaseGone(ValueError):
    """The file of the database was deleted or replaced while this process was using it."""


class WatchedFile:
    """The file of an open database, with a connection that keeps its content until it is closed."""

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection], shown: str) -> None:
        """Open the file at a path.

        Args:
            path: The path of the database.
            connect: Opens a connection to it that begins no transaction on its own.
            shown: How messages name the database.
        """
        self._path = path.absolute()
        self._shown = shown
        self._connection = connect()
        # Opens the log and its index too, so that they survive their deletion as well.
        self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        self._identity = file_identity(self._path)  # no other file gets the number of an open one
        self._lock = threading.RLock()
        self._rescued: Path | None = None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def is_gone(self) -> bool:
        """Return whether there is another file at the path now, or none."""
        return is_other_file(self._path, self._identity)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Open a transaction in the file that was opened, even if it was deleted or replaced."""
        engine = sa.create_engine(
            "sqlite://", creator=lambda: self._connection, poolclass=sa.StaticPool
        )
        with self._lock, engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    def rescue(self) -> DatabaseGone:
        """Copy what was stored to a file of another name, and return the error to raise.

        Further calls bring the same file up to date.
        """
        with self._lock:
            try:
                if self._rescued is None:
                    self._rescued = self._create()
                copy_database(self._connection, self._rescued)
                kept = f"all that was stored is in '{self._rescued}'; rename it to resume"
            except (OSError, sqlite3.Error) as error:
                kept = f"what was stored could not be copied to another file: {error}"
        return DatabaseGone(f"storage: {self._shown} was deleted or replaced during use; {kept}")

    def _create(self) -> Path:
        """Create the file to copy to, in the first of several folders that permits it."""
        last: Exception = OSError("no folder")
        for folder in self._folders():
            try:
                return create_numbered(folder / self._path.name, "rescued")
            except OSError as error:
                last = error
        raise last

    def _folders(self) -> Iterator[Path]:
        yield self._path.parent
        with suppress(FileNotFoundError):  # the working folder may have been deleted as well
            yield Path.cwd()
        yield Path(tempfile.gettempdir())


def file_identity(path: Path) -> FileIdentity:
    """Return what distinguishes a file from all others that exist.

    Raises:
        OSError: There is no such file.
    """
    found = path.stat()
    return found.st_dev, found.st_ino


def is_other_file(path: Path, identity: FileIdentity) -> bool:
    """Return whether there is now another file at a path, or none.

    Args:
        path: The path.
        identity: The file that was there before, which is still open.
    """
    try:
        return file_identity(path) != identity
    except OSError as error:
        # A network file system that does not answer has not lost the file.
        return error.errno in _GONE
