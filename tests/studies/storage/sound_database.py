"""A small database of the current schema whose every table has rows."""

import sqlite3
from pathlib import Path

_GOLDEN = Path(__file__).parent / "golden"


def write_database(path: Path, version: int | None = None) -> str:
    """Write the golden database to a file and return its URL.

    Args:
        path: The file.
        version: The version of the schema; None for the latest.
    """
    name = "schema_*.sql" if version is None else f"schema_{version}.sql"
    connection = sqlite3.connect(path)
    connection.executescript(max(_GOLDEN.glob(name)).read_text())
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    return f"sqlite:///{path}"


def execute(path: Path, statement: str) -> None:
    """Change a database without any check, as another program could."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.executescript(statement)
    connection.close()
