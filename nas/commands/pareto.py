"""`nas pareto`: show the front of a study as a table and a scatter plot."""

import gc
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from studies.analysis.study_front import Front
    from studies.storage.store import Store


def pareto(
    study: Annotated[
        str,
        typer.Argument(help="A study file, an included study, or the name of a study."),
    ],
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--max",
            help="NAME=VALUE: also show the best model whose score is at most this value. May be "
            "repeated.",
        ),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Database URL; replaces the one in the study file.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Show the front for this device alone.",
            show_default="the joint front of all devices",
        ),
    ] = None,
    why: Annotated[
        bool,
        typer.Option(
            "--why",
            help="Also show which choices matter, in which direction and by how much.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show a study's Pareto front.

    Shows the front as a table and a scatter plot. --max adds the best model within limits, and
    --why adds which choices of the space matter.
    """
    gc.disable()  # there is little garbage, and looking for it takes a sixth of the time

    from nas.inputs.study_argument import argument_for_next_command, find_study
    from nas.views.front import front_document, show_best, show_front
    from nas.views.terminal import output, print_json
    from studies.analysis import study_front
    from studies.confirmation.confirmation_results import read_confirmation
    from studies.storage.store import Store

    asked = parse_limits(limits or [])
    place = find_study(study, storage)
    with Store.open_to_read(place.storage, update=True) as store:
        front = study_front.front(store, place.name, asked, device)
        compared = list(_compared_devices(store, front)) if device is None else []
        best = study_front.best(store, front, front.axes[0].name, asked) if asked else None
        confirmation = read_confirmation(store, front)
        choices = None
        if why:
            # These are slow to import, and only --why needs them.
            from nas.findings.choice_analysis import analyse_choices
            from nas.views.choices_view import choices_document, show_choices
            from studies.analysis.followed_study import FollowedStudy

            followed = FollowedStudy(store, place.name)
            followed.catch_up()
            choices = analyse_choices(followed)
    if as_json:
        document = front_document(front, best, confirmation)
        document["devices"] = compared
        if choices is not None:
            document["why"] = choices_document(choices)
        print_json(document)
        return
    argument = argument_for_next_command(study, storage)
    show_front(front, argument, confirmation)
    for sentence in compared:
        output().print(f"- {sentence}", soft_wrap=True)
    for name in study_front.devices_with_fronts(front.spec) if device is None else ():
        output().print(f"next: nas pareto {argument} --device {name}", soft_wrap=True)
    if asked:
        show_best(front, best, asked, argument)
    if choices is not None:
        show_choices(choices)


def _compared_devices(store: "Store", front: "Front") -> Iterator[str]:
    """Yield how alike the devices of a study rank its candidates, if there are several."""
    if front.spec.target.devices:
        from nas.findings.device_findings import device_findings

        numbers = [*(trial.number for trial in front.members), *(p.number for p in front.dominated)]
        yield from device_findings(front.spec, store.trials(front.study, numbers=numbers))


def parse_limits(texts: Sequence[str]) -> dict[str, float]:
    """Parse limits of scores, such as `decode=20`.

    Raises:
        ValueError: A text is not a name and a number, or the number is below 0.
    """
    limits: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            limit = float(value)
        except ValueError:
            limit = math.nan
        if not name or not math.isfinite(limit):
            raise ValueError(f"max: '{text}' is not NAME=VALUE, such as decode=20")
        if limit < 0:
            raise ValueError(f"max: '{text}' is below 0, but no score is")
        limits[name] = limit
    return limits
