"""From what a person types to a study: its file, a shipped study, or its name in a database."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from search_space.strict import parse_strict
from studies.spec.study_file import read_spec, shipped_studies
from studies.spec.study_spec import StudySpec

DEFAULT_STORAGE: str = StudySpec.model_fields["storage"].default


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyLocation:
    """A study's name, and the URL of the database that holds it."""

    name: str
    storage: str


def find_study(text: str, storage: str | None) -> StudyLocation:
    """`storage` goes before the study file's own; ValueError for a study file with a mistake."""
    if describes_study(text):
        spec = read_spec(text)
        return StudyLocation(name=spec.name, storage=storage or spec.storage)
    return StudyLocation(name=text, storage=storage or DEFAULT_STORAGE)


def describes_study(text: str) -> bool:
    """Whether it is a study file or a shipped study, which there is before it is begun."""
    return Path(text).suffix == ".toml" or Path(text).is_file() or text in shipped_studies()


def again(text: str, storage: str | None) -> str:
    """What the next command is to be given for the same study; a URL may hold a password."""
    return shlex.quote(text) + (" --storage URL" if storage else "")


def read_study(text: str, storage: str | None) -> StudySpec:
    """The study file, or the shipped study of that name, kept in `storage` where that is given."""
    spec = read_spec(text)
    if storage is None:
        return spec
    moved = spec.model_dump(mode="json") | {"storage": storage}
    return parse_strict(StudySpec, moved, text)
