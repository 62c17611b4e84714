"""`nas show`: show one model's layout, parameters and memory, and a trial's scores."""

from typing import Annotated

import typer


def show(
    model: Annotated[
        str, typer.Argument(help="A preset, an architecture file, a model folder, or a study.")
    ],
    trial: Annotated[
        str | None,
        typer.Argument(help="For a study: a trial number or the name of a reference model."),
    ] = None,
    context: Annotated[
        int,
        typer.Option(
            help="Context length at which memory is shown, in tokens.", min=0, max=1 << 24
        ),
    ] = 4096,
    scale: Annotated[
        str | None,
        typer.Option(help="Scale the model to this number of parameters, such as 700M or 1.2B."),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Database URL; replaces the one in the study file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show a model or a trial.

    Shows the layout, the parameters of each part, the memory, and the scores of a trial.
    """
    from nas.inputs.model_argument import find_model
    from nas.views.model import model_document, print_model
    from nas.views.terminal import notices, output, print_json
    from nas.views.trial import trial_document, trial_view

    found = find_model(model, trial, storage=storage, scale=scale)
    if found.remark is not None:
        notices().print(found.remark)
    # The scores are those of the trial before scaling.
    detail = None if found.scaled_from is not None else found.detail
    expected = None
    if detail is not None and detail.trial.state == "complete" and detail.trial.model is not None:
        from nas.inputs.study_argument import find_study
        from studies.analysis.expected_losses import read_expected_losses
        from studies.storage.store import Store

        place = find_study(model, storage)
        with Store.open_to_read(place.storage) as store:
            expected = read_expected_losses(store, place.name, {detail.trial.model.hash})
    if as_json:
        scores = {} if detail is None else trial_document(detail, expected)
        print_json(model_document(found.architecture, context) | scores)
        return
    print_model(found, context)
    if detail is not None:
        output().print(trial_view(detail, expected))
