"""`nas show`: one model's layout, where its parameters are, and the memory it takes."""

from typing import Annotated

import typer


def show(
    model: Annotated[
        str, typer.Argument(help="A preset, an architecture file (.json), or a study.")
    ],
    trial: Annotated[
        str | None, typer.Argument(help="Of a study: a trial's number, or a reference's name.")
    ] = None,
    context: Annotated[
        int, typer.Option(help="Tokens of context that memory is counted at.", min=0, max=1 << 24)
    ] = 4096,
    storage: Annotated[
        str | None, typer.Option(help="Database URL, instead of the study file's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show a model's layout, the split of its parameters, its memory, and a trial's scores."""
    from nas.models import NamedModel, find_model
    from nas.study_place import find_study
    from nas.views.model import model_document, print_model
    from nas.views.terminal import output, print_json
    from nas.views.trial import trial_document, trial_view
    from studies import analysis
    from studies.storage.store import Store

    if trial is None:
        if model.endswith(".toml"):
            raise ValueError(f"trial: of a study one is shown, as in: nas show {model} 0")
        found = find_model(model)
        if as_json:
            print_json(model_document(found.architecture, context))
        else:
            print_model(found, context)
        return
    place = find_study(model, storage)
    with Store.open(place.storage, create=False) as store:
        detail = analysis.detail(store, place.name, trial)
    if detail.architecture is None:
        raise ValueError(f"trial: {trial} has no architecture yet")
    if as_json:
        print_json(model_document(detail.architecture, context) | trial_document(detail))
    else:
        print_model(
            NamedModel(name=f"{place.name} {trial}", architecture=detail.architecture), context
        )
        output().print(trial_view(detail))
