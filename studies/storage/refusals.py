"""Sentences about databases that cannot be used, in place of the exceptions of their drivers."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from studies.damage import DamagedDatabase
from studies.storage.decoding import BadRow
from studies.storage.migrations import NotBegun
from studies.storage.outages import LOCKED, first_line, outage_reason

_ADVICE = "`nas db check` lists what is damaged"

# The keys are prefixes, because SQLite appends the details of an error to the name of its kind.
_SQLITE_REASONS = {
    "SQLITE_NOTADB": "is not a SQLite database",
    "SQLITE_CORRUPT": "is a damaged SQLite database",
    "SQLITE_CANTOPEN": "cannot be opened or created by this user, or is on a read-only medium",
    "SQLITE_PERM": "cannot be opened or created by this user, or is on a read-only medium",
    "SQLITE_READONLY": "cannot be written by this user, or is on a read-only medium",
    "SQLITE_BUSY": LOCKED,
    "SQLITE_FULL": "is on a disk that is full",
    "SQLITE_IOERR": "cannot be read or written; the disk reports an error, or the file is cut off",
}
_NO_PERMISSION = "42501"
# The keys are prefixes of PostgreSQL's error codes.
_POSTGRESQL_REASONS = {
    "25006": "cannot be written, because the server or this connection is read-only",
    _NO_PERMISSION: "does not permit this to the user",
    "53100": "is on a disk that is full",
}
# Our queries suit our tables, so these errors show that the database contains something else.
_SQLITE_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_CONSTRAINT", "SQLITE_MISMATCH")
_POSTGRESQL_DAMAGE = ("22", "23", "42", "XX")


def shown(url: sa.URL) -> str:
    """Return a database URL in quotes, without its password."""
    return f"'{url.render_as_string(hide_password=True)}'"


def refusal(url: sa.URL, why: str, kind: type[ValueError] = ValueError) -> ValueError:
    """Return an error about a database.

    Args:
        url: The URL of the database.
        why: The end of the sentence that starts with the database.
        kind: The class of the error.
    """
    return kind(f"storage: {shown(url)} {why}")


def reason(error: sa.exc.DBAPIError | sqlite3.Error) -> str:
    """Return why a database cannot be used, as the end of a sentence that starts with it."""
    original = error if isinstance(error, sqlite3.Error) else error.orig
    name = getattr(original, "sqlite_errorname", None) or ""
    code = getattr(original, "sqlstate", None) or ""
    for reasons, given in ((_SQLITE_REASONS, name), (_POSTGRESQL_REASONS, code)):
        for prefix, sentence in reasons.items():
            if given.startswith(prefix):
                return sentence
    detail = first_line(original)[:200]
    return f"is damaged: {detail}" if _is_damage(original) else f"cannot be opened: {detail}"


def completed(url: sa.URL, error: ValueError | sa.exc.DBAPIError) -> ValueError:
    """Return an error as a sentence that starts with the database, unless it is one already."""
    if isinstance(error, sa.exc.DBAPIError):
        return refusal(url, reason(error))
    if str(error).startswith("storage: "):
        return error
    return refusal(url, str(error), NotBegun if isinstance(error, NotBegun) else ValueError)


@contextmanager
def translated(url: sa.URL) -> Iterator[None]:
    """Report what fails in a transaction as one sentence.

    Outages are left to `outages.Outages`, which repeats the transaction.

    Args:
        url: The URL of the database.

    Raises:
        DamagedDatabase: The database is damaged, or has tables or rows that are not ours.
        ValueError: It cannot be read or written for another reason.
    """
    try:
        yield
    except BadRow as error:
        raise refusal(url, f"is damaged: {error}; {_ADVICE}", DamagedDatabase) from error
    except UnicodeDecodeError as error:  # raised by the driver while it composes a message
        why = f"is damaged: it contains bytes that are not text; {_ADVICE}"
        raise refusal(url, why, DamagedDatabase) from error
    except sa.exc.DBAPIError as error:
        if _is_damage(error.orig):
            raise refusal(url, f"{reason(error)}; {_ADVICE}", DamagedDatabase) from error
        if outage_reason(error) is not None:
            raise
        raise refusal(url, reason(error)) from error


def _is_damage(error: BaseException | None) -> bool:
    name = getattr(error, "sqlite_errorname", None)
    code = getattr(error, "sqlstate", None)
    if name is not None:
        # SQLITE_ERROR itself, without details, reports a missing table or column.
        return str(name).startswith(_SQLITE_DAMAGE) or str(name) == "SQLITE_ERROR"
    if code is not None:
        return str(code).startswith(_POSTGRESQL_DAMAGE) and code != _NO_PERMISSION
    # Python's driver for SQLite gives no name to text that is not UTF-8.
    return "Could not decode to UTF-8" in str(error)
