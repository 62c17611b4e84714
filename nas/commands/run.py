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
) -> None:
    """Run a study until it has its trials; the same command resumes it after any interruption."""
    from nas.assembly import evaluators_of
    from nas.front_view import print_front
    from nas.live import watching
    from nas.study_place import read_study
    from nas.terminal import notices
    from studies.loop import run_study
    from studies.spec import check_machine
    from studies.store import Store

    spec = read_study(study, storage)
    check_machine(spec)
    evaluators = evaluators_of(spec)
    with Store.open(spec.storage) as store:
        try:
            with watching(spec, store) as listener:
                run_study(
                    spec, evaluators=evaluators, store=store, listener=listener, trials=trials
                )
        except KeyboardInterrupt:
            notices().print("stopped; the same command goes on where it was")
            raise
        print_front(store, spec.name, study)
