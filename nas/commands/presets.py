"""`nas presets`: list the published models and ours, and what each spends on its embedding."""

from typing import Annotated

import typer


def presets(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the models that are known by name.

    Lists published models and models of this project, with the fraction of the parameters that each
    spends on its embedding.
    """
    from nas.views.audit import embedding_audit
    from nas.views.terminal import output, print_json
    from search_space.costs import parameter_counts
    from search_space.preset_models import PRESETS, PUBLISHED

    counts = {name: parameter_counts(architecture) for name, architecture in PRESETS.items()}
    if as_json:
        print_json(
            [
                {
                    "name": name,
                    "published": name in PUBLISHED,
                    "layout": PRESETS[name].layout,
                    "parameters": count.total,
                    "embedding_parameters": count.embedding,
                    "embedding_share": count.embedding_share,
                }
                for name, count in counts.items()
            ]
        )
        return
    output().print(embedding_audit(PRESETS))
