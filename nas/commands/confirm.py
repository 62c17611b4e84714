"""`nas confirm`: how far the front of a study is to be trusted, by longer trainings."""

from typing import Annotated

import typer

_LEAST, _MOST = 1.1, 1_000.0


def confirm(
    study: Annotated[str, typer.Argument(help="A study file, or a study's name.")],
    candidates: Annotated[
        int | None,
        typer.Option(
            help="How many: the front, then those nearest behind it.",
            show_default="the front, or 8",
            min=3,
        ),
    ] = None,
    budget: Annotated[
        float, typer.Option(help="Tokens of the long training, in token budgets of the study.")
    ] = 4.0,
    seeds: Annotated[
        int, typer.Option(help="Fresh seeds at the study's own budget.", min=2, max=100)
    ] = 2,
    storage: Annotated[
        str | None, typer.Option(help="Database URL, instead of the study file's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train a study's front again, with fresh seeds and for longer, measure it again, and say what
    holds; the same command resumes it.
    """
    from nas.inputs.study_argument import again, find_study

    if not _LEAST <= budget <= _MOST:
        raise ValueError(
            f"budget: {budget:g} is not between {_LEAST:g} and {_MOST:,.0f} token budgets of the "
            "study"
        )
    place = find_study(study, storage)
    # Takes seconds to import: only once the options are known to be right.
    from nas.workflows.front_confirmation import ConfirmationOptions, confirm_and_show

    options = ConfirmationOptions(candidates=candidates, budget=budget, seeds=seeds)
    study_argument = again(study, storage)
    confirm_and_show(place.name, place.storage, options, study_argument, as_json=as_json)
