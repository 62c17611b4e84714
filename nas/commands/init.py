"""`nas init`: write a study file to edit, copied from an included study."""

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

# The name of the study precedes all tables, and so any other `name`.
_NAME = re.compile(r"^name *=.*$", re.MULTILINE)


def init(
    path: Annotated[Path, typer.Argument(help="The study file to write.")] = Path("study.toml"),
    like: Annotated[
        str, typer.Option("--from", help="The included study or the study file to copy.")
    ] = "quickstart",
) -> None:
    """Write a study file to edit.

    By default, the file is a copy of quickstart, which explains every key.
    """
    from nas.exporters.output import OutputExists, writing_file
    from nas.views.terminal import notices
    from studies.spec.study_file import spec_text

    text = spec_text(like)
    try:
        with writing_file(path, overwrite=False, field="path") as file:
            named = _NAME.sub(f'name = "{_name(path)}"', text, count=1)
            file.write_text(named, encoding="utf-8")
    except OutputExists:
        raise ValueError(f"path: '{path}' already exists and was not changed") from None
    notices().print(f"wrote {path}; next: nas validate {shlex.quote(str(path))}")


def _name(path: Path) -> str:
    """Return a valid name for a study, derived from the stem of the file."""
    letters = re.sub(r"[^a-z0-9]", "-", path.stem.lower())
    return letters.strip("-")[:64] or "study"
