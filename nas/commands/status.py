"""`nas status`: show the progress of a study, including one that another machine runs."""

from datetime import UTC, datetime
from typing import Annotated

import typer


def status(
    study: Annotated[
        str,
        typer.Argument(help="A study file, an included study, or the name of a study."),
    ],
    storage: Annotated[
        str | None, typer.Option(help="Database URL; replaces the one in the study file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the progress of a study.

    Shows how many trials have ended, which are running, which failed, the time spent, and the
    estimated time left.
    """
    from nas.inputs.study_argument import find_study
    from nas.views.study_status import confirmation_status_line, status_document, status_view
    from nas.views.terminal import output, print_json
    from studies.analysis import summaries
    from studies.analysis.run_times import run_times
    from studies.storage.store import Store

    place = find_study(study, storage)
    with Store.open_to_read(place.storage, update=True) as store:
        progress = summaries.status(store, place.name)
        times = run_times(store, place.name, datetime.now(UTC))
        runs = store.confirmation_runs(place.name)
    if as_json:
        print_json(status_document(progress, runs, times))
    else:
        output().print(status_view(progress, times), soft_wrap=True)
        if runs:
            output().print(confirmation_status_line(runs), soft_wrap=True)
