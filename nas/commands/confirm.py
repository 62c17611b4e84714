"""`nas confirm`: retrain and remeasure a study's front, to check which differences are real."""

from typing import Annotated

import typer

from nas.commands.devices_option import DevicesOption

_LEAST_BUDGET, _MOST_BUDGET = 1.1, 1_000.0


def confirm(
    study: Annotated[
        str,
        typer.Argument(help="A study file, an included study, or the name of a study."),
    ],
    candidates: Annotated[
        int | None,
        typer.Option(
            help="Number of candidates: the front first, then its runners-up.",
            show_default="the front, or 8 if it is smaller",
            min=3,
        ),
    ] = None,
    budget: Annotated[
        float,
        typer.Option(
            help="Tokens of the long training run, as a multiple of the study's token budget."
        ),
    ] = 4.0,
    seeds: Annotated[
        int,
        typer.Option(
            help="Number of retraining runs with new seeds at the study's token budget.",
            min=2,
            max=100,
        ),
    ] = 2,
    storage: Annotated[
        str | None, typer.Option(help="Database URL; replaces the one in the study file.")
    ] = None,
    devices: DevicesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Retrain and remeasure a study's front.

    Shows which of the front's differences are larger than the noise of seeds and measurements. The
    same command resumes it after an interruption.
    """
    from nas.inputs.device_argument import study_devices
    from nas.inputs.study_argument import argument_for_next_command, find_study

    if not _LEAST_BUDGET <= budget <= _MOST_BUDGET:
        raise ValueError(
            f"budget: {budget:g} is not between {_LEAST_BUDGET:g} and {_MOST_BUDGET:,.0f} times "
            "the token budget of the study"
        )
    place = find_study(study, storage)
    # These take seconds to import, so the options are checked first.
    from nas.views.confirmation_view import confirmation_document, confirmation_view
    from nas.views.live_confirmation import live_confirmation
    from nas.views.terminal import output, print_json, reported_interrupt
    from nas.workflows.front_confirmation import ConfirmationOptions, confirm_front
    from studies.storage.store import Store

    options = ConfirmationOptions(candidates=candidates, budget=budget, seeds=seeds)
    with Store.open(place.storage, create=False) as store:
        try:
            with live_confirmation() as live:
                front, confirmation = confirm_front(
                    place.name,
                    store,
                    options,
                    devices_of=lambda spec: study_devices(spec, study, devices),
                    listener=live,
                    say=live.say,
                    notify=live.notify,
                )
        except KeyboardInterrupt:
            raise reported_interrupt(
                "stopped; finished timings and training runs are kept; run the same command again "
                "to resume"
            ) from None
    if as_json:
        print_json(confirmation_document(confirmation, front.spec))
    else:
        output().print(confirmation_view(confirmation, front))
        argument = argument_for_next_command(study, storage)
        output().print(f"next: nas pareto {argument}", soft_wrap=True)
