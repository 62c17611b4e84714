"""`nas profile`: measure what each part of a model costs on this machine, by context depth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.commands.occupied_machine import IfOccupiedOption, LongestWaitOption

if TYPE_CHECKING:
    from nas.workflows.profile_timing import Profiling


def profile(
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Time one width and three depths only; takes less than three minutes."
        ),
    ] = False,
    width: Annotated[
        list[int] | None, typer.Option(help="Width of the models. May be repeated.")
    ] = None,
    depth: Annotated[
        list[int] | None, typer.Option(help="Context depth in tokens. May be repeated.")
    ] = None,
    quantization: Annotated[
        list[str] | None, typer.Option(help="fp32, int8 or int4. May be repeated.")
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(help="Number of threads, each on a core of its own. May be repeated."),
    ] = None,
    prompt: Annotated[
        int | None, typer.Option(help="Length of the prompt for prefill, in tokens.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            help="Number of times that each model is loaded and timed; more rounds narrow the "
            "confidence intervals."
        ),
    ] = None,
    longest_wait: LongestWaitOption = None,
    if_occupied: IfOccupiedOption = "measure",
    storage: Annotated[
        str | None, typer.Option(help="URL of the database that stores the times.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw cost against depth, to this .svg file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure what each part of a model costs.

    Times the mixers, the feed-forward and the vocabulary on this machine. The same command resumes
    after an interruption.
    """
    from hardware.machine_lock import make_lock_wait
    from nas.inputs.study_argument import DEFAULT_STORAGE
    from nas.views.live_profile import live_profile, print_cache_warnings
    from nas.views.terminal import reported_interrupt
    from nas.workflows.profile_plan import FULL, QUICK, plan_profile
    from nas.workflows.profile_timing import profile_this_machine
    from studies.storage.store import Store

    plan = plan_profile(
        QUICK if quick else FULL,
        widths=width or [],
        depths=depth or [],
        quantizations=quantization or [],
        threads=threads or [],
        prompt=prompt,
        rounds=rounds,
    )
    lock_wait = make_lock_wait(plan.profile_budget.seconds, longest_wait, if_occupied)
    if picture is not None:
        _check_picture(picture)
    with Store.open(storage or DEFAULT_STORAGE) as store:
        profiling = profile_this_machine(plan, store, lock_wait)
        print_cache_warnings(profiling)
        try:
            with live_profile(profiling) as listener:
                profiling.run(listener)
        except KeyboardInterrupt:
            _show(profiling, picture, as_json=as_json)
            raise reported_interrupt(
                f"stopped after {profiling.done} of {profiling.total} times; run the same command "
                "again to resume"
            ) from None
        _show(profiling, picture, as_json=as_json)


def _check_picture(path: Path) -> None:
    from nas.exporters.output import check_output_file

    if path.suffix != ".svg":
        raise ValueError(f"picture: '{path}' does not end in .svg")
    if not path.parent.is_dir():
        raise ValueError(f"picture: '{path}' is in a folder that does not exist")
    check_output_file(path, "picture")


def _show(profiling: "Profiling", picture: Path | None, *, as_json: bool) -> None:
    from evaluators.speed.operators.operator_costs import operator_costs
    from nas.exporters.output import writing_file
    from nas.views.profile_picture import draw_profiles
    from nas.views.profile_tables import profile_document, profile_view
    from nas.views.terminal import notices, output, print_json

    profiles = profiling.profiles()
    if as_json:
        print_json(profile_document(profiles))
    else:
        for profile in profiles:
            output().print(profile_view(profile))
    for remark in profiling.remarks:
        notices().print(remark, soft_wrap=True)
    if picture is not None and any(map(operator_costs, profiles)):
        with writing_file(picture, overwrite=True, field="picture") as file:
            file.write_text(draw_profiles(profiles), encoding="utf-8")
        notices().print(f"wrote {picture}")
