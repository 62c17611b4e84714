"""Connections that only read SQLite files, even in folders that this user cannot write to."""

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote


def connect_to_read(path: Path, busy_s: float) -> sqlite3.Connection:
    """Connect to a file for reading only.

    Readers of a database with write-ahead logging use its index, the file `-shm`, and create it if
    there is none. Without the permission to create it, there are three cases:

    - The log, the file `-wal`, and the index exist, because a writer has the database open: SQLite
      reads both.
    - There is no log, or an empty one: all that was stored is in the database itself. It is opened
      as immutable, for which SQLite needs no index. It would not notice a later writer, so such a
      connection must not be kept.
    - There is a log without an index, as in a copy of the files of a process that died: the log may
      contain the latest commits, and `needs_copy` returns True.

    Args:
        path: The file.
        busy_s: Seconds to wait for locks of other processes.
    """
    options = "mode=ro"
    if not is_in_writable_folder(path) and not _has_log(path):
        options += "&immutable=1"
    uri = f"file:{quote(os.fspath(path.absolute()))}?{options}"
    return sqlite3.connect(
        uri, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False
    )


def is_in_writable_folder(path: Path) -> bool:
    """Return whether this user can create files next to a file."""
    return os.access(path.absolute().parent, os.W_OK)


def needs_copy(path: Path) -> bool:
    """Return whether a database can be read only in a folder that this user can write."""
    index = path.with_name(f"{path.name}-shm")
    return not is_in_writable_folder(path) and _has_log(path) and not index.exists()


@contextlib.contextmanager
def temporary_copy(path: Path) -> Iterator[Path]:
    """Copy a database with its log to a temporary folder for the duration of the context.

    Yields:
        The copy.
    """
    with tempfile.TemporaryDirectory(prefix="nas-database-") as folder:
        copied = Path(folder) / path.name
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            if source.exists():
                shutil.copyfile(source, copied.with_name(copied.name + suffix))
        yield copied


def _has_log(path: Path) -> bool:
    """Return whether the database has a log that is not empty."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except OSError:
        return False
