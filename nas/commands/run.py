"""`nas run`: begin a study, or go on with it, and show its front."""

from typing import Annotated

import typer


def run(
    study: Annotated[str, typer.Argument(help="A study file, or a shipped study's name.")],
    trials: Annotated[
        int | None, typer.Option(help="Trials wanted in all; finished ones count.", min=1)
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Database URL, instead of the study file's.")
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Forget this study's trials; measurements are kept.")
    ] = False,
) -> None:
    """Run a study until it has its trials; the same command resumes it after any interruption."""
    from nas.inputs.study_argument import again, read_study

    spec = read_study(study, storage)
    # Takes seconds to import: only once the study file is known to be right.
    from nas.workflows.study_run import run_and_show

    run_and_show(spec, trials, again(study, storage), anew=anew)
