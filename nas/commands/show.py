"""`nas show`: one model's layout, where its parameters are, and the memory it takes."""

from typing import Annotated

import typer


def show(
    model: Annotated[
        str, typer.Argument(help="A preset, an architecture file, a model's folder, or a study.")
    ],
    trial: Annotated[
        str | None, typer.Argument(help="Of a study: a trial's number, or a reference's name.")
    ] = None,
    context: Annotated[
        int, typer.Option(help="Tokens of context that memory is counted at.", min=0, max=1 << 24)
    ] = 4096,
    scale: Annotated[
        str | None, typer.Option(help="Stretch it to so many parameters first: 700M, 1.2B.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Database URL, instead of the study file's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show a model's layout, the split of its parameters, its memory, and a trial's scores."""
    from nas.inputs.model_argument import find_subject
    from nas.inputs.named_model import NamedModel
    from nas.views.model import model_document, print_model
    from nas.views.terminal import notices, output, print_json
    from nas.views.trial import trial_document, trial_view

    subject = find_subject(model, trial, storage=storage, scale=scale)
    if subject.remark is not None:
        notices().print(subject.remark)
    # Of a stretched trial nothing has been scored.
    detail = None if subject.stretched_from is not None else subject.detail
    if as_json:
        scored = {} if detail is None else trial_document(detail)
        print_json(model_document(subject.architecture, context) | scored)
        return
    print_model(NamedModel(name=subject.name, architecture=subject.architecture), context)
    if detail is not None:
        output().print(trial_view(detail))
