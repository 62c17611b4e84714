"""`nas validate`: whether a study file is right, and what running it would mean."""

from typing import Annotated

import typer


def validate(
    study: Annotated[str, typer.Argument(help="A study file, or a shipped study's name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check a study file and show its plan: the space, the sizes, the time it takes."""
    from rich.markup import escape

    from nas.views.terminal import notices, output, print_json
    from studies.spec.reference_models import check_models
    from studies.spec.study_file import read_spec
    from studies.spec.study_spec import check_machine

    spec = read_spec(study)
    with notices().status("looking for the corpus and the models") as status:
        check_machine(spec)
        check_models(spec)
        # Takes seconds to import: only once the study file is known to be right.
        from nas.workflows.study_plan import make_plan, plan_document, plan_view

        plan = make_plan(spec, lambda doing: status.update(escape(doing)))
    if as_json:
        print_json(plan_document(plan))
    else:
        output().print(plan_view(plan))
