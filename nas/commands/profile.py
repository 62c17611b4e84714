"""`nas profile`: what each part of a model costs on this machine, and from which depth on."""

from pathlib import Path
from typing import Annotated

import typer


def profile(
    quick: Annotated[
        bool, typer.Option("--quick", help="One width, three depths: under three minutes.")
    ] = False,
    width: Annotated[
        list[int] | None, typer.Option(help="Of the models; may be given several times.")
    ] = None,
    depth: Annotated[
        list[int] | None, typer.Option(help="Of the context; may be given several times.")
    ] = None,
    quantization: Annotated[
        list[str] | None, typer.Option(help="fp32, int8 or int4; may be given several times.")
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(help="Each on a core; may be given several times.")
    ] = None,
    prompt: Annotated[int | None, typer.Option(help="Tokens that prefill reads.")] = None,
    rounds: Annotated[
        int | None, typer.Option(help="In all; more of them narrow the intervals.")
    ] = None,
    storage: Annotated[str | None, typer.Option(help="Database URL.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw cost against depth; a file ending in .svg.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Time mixers, feed-forward and vocabulary; the same command goes on after an interruption."""
    from nas.inputs.study_argument import DEFAULT_STORAGE
    from nas.workflows.profile_plan import FULL, QUICK, make_plan
    from nas.workflows.profile_run import profile_and_show

    plan = make_plan(
        QUICK if quick else FULL,
        widths=width or [],
        depths=depth or [],
        quantizations=quantization or [],
        threads=threads or [],
        prompt=prompt,
        rounds=rounds,
    )
    profile_and_show(plan, storage or DEFAULT_STORAGE, picture, as_json=as_json)
