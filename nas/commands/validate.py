"""`nas validate`: whether a study file is right, and what running it would mean."""

from typing import Annotated

import typer


def validate(
    study: Annotated[str, typer.Argument(help="A study file, or a shipped study's name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check a study file and show its plan: the space, the sizes, the time it takes."""
    from nas.plan import make_plan, plan_document, plan_view
    from nas.views.terminal import notices, output, print_json
    from studies.reference import check_models
    from studies.spec import check_machine, read_spec

    spec = read_spec(study)
    check_machine(spec)
    check_models(spec)
    with notices().status("timing one drawn architecture"):
        plan = make_plan(spec)
    if as_json:
        print_json(plan_document(plan))
    else:
        output().print(plan_view(plan))
