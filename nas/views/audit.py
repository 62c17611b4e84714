"""Who spends what on the embedding: models side by side, those first that spend most."""

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from nas.views.terminal import bar, layout_strip, table
from search_space.architecture import Architecture
from search_space.costs import parameter_counts
from search_space.preset_models import OURS, PRESETS, PUBLISHED

_NEIGHBOURS = 6


def embedding_audit(models: Mapping[str, Architecture], shown: str | None = None) -> RenderableType:
    """A row for each model; that of `shown` stands out, and ours among the presets are marked."""
    audit = table(
        "model",
        "million",
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
    notes = ["million: parameters; embedding: the share of them that only names tokens"]
    notes += ["*: of ours, to compare with; nobody has published it"] if ours else []
    return Group(audit, *(Text(note, style="dim") for note in notes))


def audit_among_published(name: str, architecture: Architecture) -> RenderableType:
    """A model among the published ones that are nearest in size."""
    total = parameter_counts(architecture).total

    def distance(published: str) -> float:
        other = parameter_counts(PRESETS[published]).total
        return max(total / other, other / total)

    others = sorted((each for each in PUBLISHED if each != name), key=distance)
    models = {each: PRESETS[each] for each in others[:_NEIGHBOURS]} | {name: architecture}
    return embedding_audit(models, shown=name)
