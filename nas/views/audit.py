"""A table of models with the fraction of their parameters that is spent on the embedding."""

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from nas.views.terminal import bar, layout_strip, table
from search_space.architecture import Architecture
from search_space.costs import parameter_counts
from search_space.preset_models import OURS, PRESETS, PUBLISHED

_MOST_NEIGHBOURS = 6


def embedding_audit(models: Mapping[str, Architecture], shown: str | None = None) -> RenderableType:
    """Return a table of models, sorted by the fraction of the parameters in the embedding.

    Args:
        models: The models by name. Presets that are not published models are marked.
        shown: The name of a model to highlight.
    """
    audit = table(
        "model",
        "params\nmillion",
        "embedding",
        "",
        "layout",
        left=("model", "", "layout"),
        fold=("model", "layout"),
    )
    counts = {name: parameter_counts(architecture) for name, architecture in models.items()}
    ours = [name for name in models if name in OURS]
    for name, count in sorted(counts.items(), key=lambda item: -item[1].embedding_share):
        mark = "> " if name == shown else ""
        audit.add_row(
            f"{mark}{name}" + ("*" if name in ours else ""),
            f"{count.total / 1e6:,.1f}",
            f"{100 * count.embedding_share:.1f} %",
            bar(count.embedding_share, cells=8),
            layout_strip(models[name].layout),
            style="bold" if name == shown else "",
        )
    notes = ["embedding: fraction of the parameters in the embedding and the head"]
    notes += ["*: defined here for comparison, not a published model"] if ours else []
    return Group(audit, *(Text(note, style="dim") for note in notes))


def audit_among_published(name: str, architecture: Architecture) -> RenderableType:
    """Return the table of a model, which is highlighted, and the published models nearest in size.

    Args:
        name: The name of the model.
        architecture: Its architecture.
    """
    total = parameter_counts(architecture).total

    def distance(published: str) -> float:
        other = parameter_counts(PRESETS[published]).total
        return max(total / other, other / total)

    others = sorted((each for each in PUBLISHED if each != name), key=distance)
    models = {each: PRESETS[each] for each in others[:_MOST_NEIGHBOURS]} | {name: architecture}
    return embedding_audit(models, shown=name)
