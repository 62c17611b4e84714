"""Resolve a command-line argument to a study: a file, an included study, or one in a database."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from search_space.input_files import exists, is_file
from search_space.strict import parse_strict
from studies.spec.study_file import read_spec, shipped_studies
from studies.spec.study_spec import StudySpec

DEFAULT_STORAGE: str = StudySpec.model_fields["storage"].default


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyLocation:
    """The name of a study and the URL of the database that contains it."""

    name: str
    storage: str


def find_study(text: str, storage: str | None) -> StudyLocation:
    """Resolve an argument to a study, which need not exist in its database yet.

    Args:
        text: A study file, an included study, or the name of a study in the database.
        storage: Database URL; takes precedence over the URL in the study file.

    Raises:
        ValueError: The study file contains a mistake.
    """
    if is_study_file(text):
        spec = read_spec(text)
        return StudyLocation(name=spec.name, storage=storage or spec.storage)
    return StudyLocation(name=text, storage=storage or DEFAULT_STORAGE)


def is_study_file(text: str) -> bool:
    """Return whether an argument is a study file or an included study, not a name in a database."""
    return Path(text).suffix == ".toml" or is_file(Path(text)) or text in shipped_studies()


def read_study(text: str, storage: str | None) -> StudySpec:
    """Read a study file or an included study.

    Args:
        text: The path of the file, or the name of the included study.
        storage: Database URL that replaces the URL in the study file; None keeps it.

    Raises:
        ValueError: The study does not exist, or it or the URL contains a mistake.
    """
    spec = read_spec(text)
    if storage is None:
        return spec
    moved = spec.model_dump(mode="json") | {"storage": storage}
    try:
        return parse_strict(StudySpec, moved, text)
    except ValueError as error:  # about the option, because the file itself is valid
        raise ValueError(str(error).removeprefix(f"{text}: ")) from None


def argument_for_next_command(text: str, storage: str | None) -> str:
    """Return the arguments with which a suggested command finds the same study.

    A database URL that may contain a password is replaced by a placeholder.
    """
    if storage is None:
        return shlex.quote(text)
    return f"{shlex.quote(text)} --storage {'URL' if '@' in storage else shlex.quote(storage)}"


def new_database_remark(text: str, storage: str) -> str | None:
    """Return where a database will be created, unless it exists or is next to the study file.

    A relative path in a database URL is relative to the current folder, as those of a corpus are.

    Args:
        text: The study file.
        storage: The database URL.
    """
    path = Path(storage.removeprefix("sqlite:///"))
    if not storage.startswith("sqlite:///") or path.is_absolute() or exists(path):
        return None
    if not is_file(Path(text)) or Path(text).resolve().parent == Path.cwd():
        return None
    return (
        f"storage: the database is created in '{path.absolute().parent}', because '{path}' is "
        "relative to the current folder, not to the study file"
    )
