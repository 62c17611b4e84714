"""`nas export`: a winner leaves as a file that other commands and tools load."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """json: the architecture file that `nas show` and `nas measure` read."""

    JSON = "json"


def export(
    study: Annotated[str, typer.Argument(help="A study file, or a study's name.")],
    trial: Annotated[str, typer.Argument(help="A trial's number, or a reference's name.")],
    file_format: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.JSON,
    path: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; STUDY-TRIAL.json if left out.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Database URL, instead of the study file's.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Overwrite a file that exists.")] = False,
) -> None:
    """Export a trial's architecture."""
    from nas.exporters.architecture_json import write_architecture
    from nas.study_place import find_study
    from nas.views.terminal import notices
    from studies import analysis
    from studies.storage.store import Store

    assert file_format is Format.JSON
    place = find_study(study, storage)
    with Store.open(place.storage, create=False) as store:
        found = analysis.detail(store, place.name, trial)
    if found.architecture is None:
        raise ValueError(f"trial: {trial} has no architecture yet")
    target = path or Path(f"{place.name}-{trial}.json")
    write_architecture(found.architecture, target, overwrite=force)
    notices().print(f"wrote {target}; next: nas show {target}    nas measure {target}")
