"""`nas show`: one model's layout, where its parameters are, and the memory it takes."""

from typing import Annotated

import typer


def show(
    model: Annotated[str, typer.Argument(help="A preset, or an architecture file (.json).")],
    context: Annotated[
        int, typer.Option(help="Tokens of context that memory is counted at.", min=0, max=1 << 24)
    ] = 4096,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show a model's layout, the split of its parameters, and its memory at a context."""
    from nas.model_view import model_document, print_model
    from nas.models import find_model
    from nas.terminal import print_json

    found = find_model(model)
    if as_json:
        print_json(model_document(found.architecture, context))
    else:
        print_model(found, context)
