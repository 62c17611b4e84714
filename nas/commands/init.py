"""`nas init`: a study file to edit, copied from one that ships."""

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

# The study's own comes before all tables, and so before every other name.
_NAME = re.compile(r"^name *=.*$", re.MULTILINE)


def init(
    path: Annotated[Path, typer.Argument(help="The study file to write.")] = Path("study.toml"),
    like: Annotated[str, typer.Option("--from", help="The shipped study to copy.")] = "quickstart",
) -> None:
    """Write a study file to edit; that of quickstart explains every key."""
    from nas.views.terminal import notices
    from studies.spec.study_file import spec_text

    text = spec_text(like)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_NAME.sub(f'name = "{_name(path)}"', text, count=1))
    except FileExistsError:
        raise ValueError(f"path: '{path}' exists already and is left as it is") from None
    except OSError as error:
        raise ValueError(f"path: '{path}': {(error.strerror or '').lower()}") from None
    notices().print(f"wrote {path}; next: nas validate {shlex.quote(str(path))}")


def _name(path: Path) -> str:
    """The file's stem as the name of a study."""
    letters = re.sub(r"[^a-z0-9]", "-", path.stem.lower())
    return letters.strip("-")[:64] or "study"
