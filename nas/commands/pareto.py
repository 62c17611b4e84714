"""`nas pareto`: the front of a study, as a table and a scatter."""

import gc
from typing import Annotated

import typer


def pareto(
    study: Annotated[str, typer.Argument(help="A study file, or a study's name.")],
    limits: Annotated[
        list[str] | None,
        typer.Option("--max", help="NAME=VALUE: pick the best under a budget; may be repeated."),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Database URL, instead of the study file's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show a study's front of quality against speed, and the best model under a budget."""
    gc.disable()  # little garbage is made, and looking for it takes a sixth of the time

    from nas.inputs.study_argument import again, find_study
    from nas.views.front import front_document, parse_limits, show_best, show_front
    from nas.views.terminal import print_json
    from studies.analysis import summaries
    from studies.confirmation.confirmation_results import read_confirmation
    from studies.storage.store import Store

    budgets = parse_limits(limits or [])
    place = find_study(study, storage)
    with Store.open(place.storage, create=False) as store:
        front = summaries.front(store, place.name, budgets)
        best = summaries.best(store, front, front.axes[0].name, budgets) if budgets else None
        confirmation = read_confirmation(store, front)
    if as_json:
        print_json(front_document(front, best, confirmation))
        return
    study_argument = again(study, storage)
    show_front(front, study_argument, confirmation)
    if budgets:
        show_best(front, best, budgets, study_argument)
