"""`nas status`: where a study stands, also one that runs elsewhere."""

from typing import Annotated

import typer


def status(
    study: Annotated[str, typer.Argument(help="A study file, or a study's name.")],
    storage: Annotated[
        str | None, typer.Option(help="Database URL, instead of the study file's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show how far a study is, what runs now, what failed and where the time went."""
    from nas.inputs.study_argument import find_study
    from nas.views.study_status import repeats_line, status_document, status_view
    from nas.views.terminal import output, print_json
    from studies.analysis import summaries
    from studies.storage.store import Store

    place = find_study(study, storage)
    with Store.open(place.storage, create=False) as store:
        standing = summaries.status(store, place.name)
        repeats = store.confirmation_runs(place.name)
    if as_json:
        print_json(status_document(standing, repeats))
    else:
        output().print(status_view(standing), soft_wrap=True)
        if repeats:
            output().print(repeats_line(repeats), soft_wrap=True)
