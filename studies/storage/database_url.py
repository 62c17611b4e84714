"""URLs of databases, and the files that those of SQLite name."""

import importlib
from pathlib import Path

import sqlalchemy as sa

from studies.storage.migrations import NotBegun
from studies.storage.refusals import refusal

_EXAMPLES = "such as sqlite:///study.db or postgresql://user@host/name"
_MOST_CHARACTERS = 300


def parse_url(text: str) -> sa.URL:
    """Parse the URL of a database, and check that its driver is installed.

    Args:
        text: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.

    Raises:
        ValueError: The text is anything else.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(
            f"storage: a database URL of {len(text):,} characters exceeds {_MOST_CHARACTERS}"
        )
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        # A malformed URL may still contain a password.
        given = "the given text" if "@" in text else repr(text)
        raise ValueError(f"storage: {given} is not a database URL, {_EXAMPLES}") from None
    if url.drivername == "sqlite":
        if not url.database or url.database == ":memory:" or url.query:
            raise refusal(url, f"must name a file, without options, {_EXAMPLES}")
        if not url.database.isprintable():
            raise refusal(url, "contains a character that cannot be displayed")
        return url
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        try:
            importlib.import_module("psycopg")
        except ImportError:
            hint = "requires psycopg; install it with pip install 'hybrid-lm-search[postgresql]'"
            raise refusal(url, hint) from None
        return url.set(drivername="postgresql+psycopg")
    raise refusal(url, f"is not a database of SQLite or PostgreSQL, {_EXAMPLES}")


def is_sqlite(url: sa.URL) -> bool:
    """Return whether the database is a file of SQLite; otherwise it is one of PostgreSQL."""
    return url.drivername == "sqlite"


def file_of(url: sa.URL) -> Path:
    """Return the file of a SQLite database."""
    assert url.database is not None
    return Path(url.database)


def check_file(url: sa.URL, *, create: bool) -> None:
    """Check that the file of a SQLite database can be opened or created.

    Args:
        url: The URL of the database.
        create: Whether a missing file will be created.

    Raises:
        NotBegun: The file does not exist, and is not to be created.
        ValueError: Its folder does not exist, or what is at its path is not a regular file.
    """
    path = file_of(url)
    try:
        if not path.parent.is_dir():
            raise refusal(url, f"is in a folder that does not exist, '{path.parent}'")
        if path.is_dir():
            raise refusal(url, "is a folder")
        try:
            path.stat()
        except FileNotFoundError:
            if create:
                return
            where = "" if path.is_absolute() else f" in '{path.absolute().parent}'"
            why = f"does not exist{where}; `nas run FILE` creates it"
            raise refusal(url, why, NotBegun) from None
        if not path.is_file():  # opening a pipe would block without end
            raise refusal(url, "is not a regular file")
    except OSError as error:
        raise refusal(url, f"cannot be opened: {(error.strerror or '').lower()}") from None
