"""Backups of a database, even while other processes write to it."""

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

from studies.storage.database_url import check_file, file_of, is_sqlite, parse_url
from studies.storage.file_copies import copy_database
from studies.storage.read_only import connect_to_read, needs_copy, temporary_copy
from studies.storage.refusals import reason, refusal

_BUSY_S = 30.0
# Errors about the new file, because the database is only read.
_WRITING = ("SQLITE_FULL", "SQLITE_IOERR_WRITE")


def back_up(url: str, target: Path, *, overwrite: bool) -> None:
    """Copy a SQLite database to a file, without interrupting the processes that use it.

    The copy contains everything that was stored when it was completed. The file appears complete
    or not at all.

    Args:
        url: `sqlite:///FILE`.
        target: The file to write.
        overwrite: Whether an existing file may be replaced.

    Raises:
        ValueError: The database is one of PostgreSQL or cannot be read, or the file cannot be
            written.
    """
    parsed = parse_url(url)
    if not is_sqlite(parsed):
        raise refusal(parsed, "is a database of PostgreSQL; back it up with pg_dump")
    check_file(parsed, create=False)
    _check_target(target, file_of(parsed), overwrite=overwrite)
    try:
        with contextlib.ExitStack() as resources:
            source = file_of(parsed)
            if needs_copy(source):
                source = resources.enter_context(temporary_copy(source))
            folder = resources.enter_context(
                tempfile.TemporaryDirectory(prefix=".nas-backup-", dir=target.parent)
            )
            unfinished = Path(folder) / target.name
            connection = resources.enter_context(
                contextlib.closing(connect_to_read(source, _BUSY_S))
            )
            copy_database(connection, unfinished)
            if overwrite:
                unfinished.replace(target)
            else:
                os.link(unfinished, target)  # fails if another process has just created it
    except FileExistsError:
        raise _exists(target) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ValueError(f"file: '{target}' cannot be written: {why}") from None
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", None) in _WRITING:
            why = "cannot be written; the disk is full or reports an error"
            raise ValueError(f"file: '{target}' {why}") from None
        raise refusal(parsed, reason(error)) from None


def _check_target(target: Path, source: Path, *, overwrite: bool) -> None:
    if target.exists() or target.is_symlink():
        if not overwrite:
            raise _exists(target)
        if not target.is_file():
            raise ValueError(f"file: '{target}' is not a regular file, and is not replaced")
        if target.samefile(source):
            raise ValueError(f"file: '{target}' is the database itself")
    elif not target.parent.is_dir():
        raise ValueError(f"file: '{target}' is in a folder that does not exist")


def _exists(target: Path) -> ValueError:
    return ValueError(f"file: '{target}' already exists; --force overwrites it")
