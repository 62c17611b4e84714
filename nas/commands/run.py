"""`nas run`: run or resume a study, and show its front."""

from typing import Annotated

import typer

from nas.commands.devices_option import DevicesOption


def run(
    study: Annotated[str, typer.Argument(help="A study file or an included study.")],
    trials: Annotated[
        int | None,
        typer.Option(help="Total number of trials, including finished ones.", min=1),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Database URL; replaces the one in the study file.")
    ] = None,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart",
            help="Discard this study's trials and start again; cached measurements are kept.",
        ),
    ] = False,
    remeasure: Annotated[
        bool,
        typer.Option(
            "--remeasure",
            help="First forget the reference model's earlier timings and measure the front again.",
        ),
    ] = False,
    lease: Annotated[
        float,
        typer.Option(
            help="Seconds without a sign of life of this process after which one on another host, "
            "or in another container, takes over its trial. Increase it if the database is often "
            "unreachable for longer.",
            min=3,
            max=86_400,
        ),
    ] = 60.0,
    devices: DevicesOption = None,
    restart_by_former_name: Annotated[bool, typer.Option("--anew", hidden=True)] = False,
) -> None:
    """Run a study, or resume it.

    Runs until the study has the requested number of trials, then shows its front. The same command
    resumes it after an interruption.
    """
    from nas.inputs.device_argument import study_devices
    from nas.inputs.study_argument import (
        argument_for_next_command,
        new_database_remark,
        read_study,
    )
    from studies.spec.study_spec import check_machine

    spec = read_study(study, storage)
    check_machine(spec)
    named_devices = study_devices(spec, study, devices)
    # These take seconds to import, so the study file is checked first.
    from nas.views.front import print_front
    from nas.views.live_study import live_study
    from nas.views.terminal import notices, reported_interrupt
    from nas.workflows.study_run import StudyInterrupted, run_or_resume
    from studies.storage.store import Store

    restart = restart or restart_by_former_name
    remark = new_database_remark(study, spec.storage)
    if remark is not None:
        notices().print(remark, soft_wrap=True)
    with Store.open(spec.storage) as store:
        try:
            with live_study(spec, store) as live:
                front, confirmation = run_or_resume(
                    spec,
                    store,
                    devices=named_devices,
                    trials=trials,
                    restart=restart,
                    remeasure=remeasure,
                    lease_s=lease,
                    listener=live,
                    say=live.say,
                    notify=live.notify,
                )
        except StudyInterrupted as stop:
            command = "without --restart" if restart else "again"
            raise reported_interrupt(
                f"{stop}; run the same command {command} to resume; interrupted training runs "
                "restart"
            ) from None
    print_front(front, argument_for_next_command(study, storage), confirmation)
