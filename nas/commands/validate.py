"""`nas validate`: check a study file, and show what running it would mean."""

from typing import Annotated

import typer

from nas.commands.devices_option import DevicesOption


def validate(
    study: Annotated[str, typer.Argument(help="A study file or an included study.")],
    devices: DevicesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check a study file and show its plan.

    The plan contains the size of the space and of its models, the times and the memory of three of
    them on each device of the study, and the expected duration. If the study was started before,
    the file must still describe it.
    """
    from nas.inputs.device_argument import study_devices
    from nas.views.live_stage import live_text
    from nas.views.terminal import output, print_json
    from nas.workflows.stored_study import resumed_study
    from studies.spec.reference_models import check_models
    from studies.spec.start_files import check_start_files
    from studies.spec.study_file import read_spec
    from studies.spec.study_spec import check_machine

    spec = read_spec(study)
    with live_text(at_once=False) as say:
        say("looking for the corpus and the models")
        check_machine(spec)
        spec = resumed_study(spec)
        check_models(spec)
        check_start_files(spec)
    named_devices = study_devices(spec, study, devices)
    # These take seconds to import, so the study file is checked first.
    from nas.views.plan_view import plan_document, plan_view
    from nas.workflows.study_plan import plan_study

    with live_text() as say:
        plan = plan_study(spec, named_devices, say)
    if as_json:
        print_json(plan_document(plan))
    else:
        output().print(plan_view(plan))
