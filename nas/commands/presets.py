"""`nas presets`: the published models, and who spends what on embeddings."""

from typing import Annotated

import typer


def presets(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the published models and what each spends on its embedding."""
    from nas.views.terminal import bar, layout_strip, output, print_json, table
    from search_space.costs import parameter_counts
    from search_space.presets import PRESETS

    counts = {name: parameter_counts(architecture) for name, architecture in PRESETS.items()}
    if as_json:
        print_json(
            [
                {
                    "name": name,
                    "layout": PRESETS[name].layout,
                    "parameters": count.total,
                    "embedding_parameters": count.embedding,
                    "embedding_share": count.embedding_share,
                }
                for name, count in counts.items()
            ]
        )
        return
    audit = table(
        "model",
        "parameters",
        "embedding",
        "",
        "layout",
        left=("model", "", "layout"),
        fold=("layout",),
    )
    for name, count in sorted(counts.items(), key=lambda item: -item[1].embedding_share):
        audit.add_row(
            name,
            f"{count.total:,}",
            f"{100 * count.embedding_share:.1f} %",
            bar(count.embedding_share, cells=12),
            layout_strip(PRESETS[name].layout),
        )
    output().print(audit)
    output().print("embedding: the share of parameters that only names tokens")
