"""`nas db`: check a database, or back it up."""

from pathlib import Path
from typing import Annotated

import typer

db = typer.Typer(help="Check a database, or back it up.", rich_markup_mode=None)

_Storage = Annotated[
    str | None, typer.Option(help="Database URL.", show_default="sqlite:///nas.db")
]


@db.command()
def check(
    storage: _Storage = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check a database for damage; nothing is changed.

    Checks the file, the tables, every row and what the rows refer to. The exit code is 2 if
    something is damaged.
    """
    from nas.findings.wording import counted
    from nas.inputs.study_argument import DEFAULT_STORAGE
    from nas.views.integrity_view import integrity_document, integrity_view
    from nas.views.terminal import output, print_json
    from studies.damage import DamagedDatabase
    from studies.storage.integrity import check_database

    report = check_database(storage or DEFAULT_STORAGE)
    if as_json:
        print_json(integrity_document(report))
    else:
        output().print(integrity_view(report), soft_wrap=True)
    if report.damage:
        faults = counted(len(report.damage), "fault", "faults")
        raise DamagedDatabase(
            f"storage: the database is damaged ({faults}); restore a backup, or start a new one"
        )


@db.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    storage: _Storage = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Copy a SQLite database to a file, also while studies run.

    For PostgreSQL, use pg_dump.
    """
    from nas.inputs.study_argument import DEFAULT_STORAGE
    from nas.views.terminal import notices
    from studies.storage.backup import back_up

    back_up(storage or DEFAULT_STORAGE, file, overwrite=force)
    notices().print(f"wrote {file}", soft_wrap=True)
