"""Copies of SQLite databases that other processes may be writing to."""

import os
import sqlite3
from pathlib import Path

_PAGES_PER_STEP = 1_000  # between steps, other processes may write


def copy_database(source: sqlite3.Connection, target: Path) -> None:
    """Copy a database, including what is only in its log so far, to an empty or missing file.

    Args:
        source: A connection outside any transaction.
        target: The file to write.

    Raises:
        OSError: The file cannot be written.
        sqlite3.Error: The database cannot be read, or the file cannot be written.
    """
    copy = sqlite3.connect(target, isolation_level=None)
    try:
        source.backup(copy, pages=_PAGES_PER_STEP, sleep=0.01)
        # The copy is one file, without a log next to it, until somebody writes to it.
        copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        copy.close()
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def create_numbered(path: Path, label: str) -> Path:
    """Create an empty file named after another one, such as `nas-rescued-1.db`.

    Args:
        path: The file that it is named after.
        label: The word in the name.

    Returns:
        The file, with the lowest number that no other file has.

    Raises:
        OSError: The file cannot be created.
    """
    number = 1
    while True:
        created = path.with_name(f"{path.stem}-{label}-{number}{path.suffix}")
        try:
            os.close(os.open(created, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            number += 1
        else:
            return created
