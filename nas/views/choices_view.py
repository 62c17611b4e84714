"""Which choices of a study matter, as sentences with a table, and as a JSON document."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nas.findings.choice_analysis import ChoiceAnalysis
from nas.findings.choice_findings import NOT_DISTINGUISHABLE, change_text, difference_text
from nas.views.terminal import output, table
from studies.analysis.choice_effects import EFFECT_METHOD, ChoiceEffects


def choices_document(found: ChoiceAnalysis) -> dict[str, Any]:
    """Return what `nas pareto --why --json` prints in addition to the front."""
    effects = found.effects
    return {
        "candidates": found.trials,
        "note": found.note,
        "findings": list(found.findings),
        "effects_on": None if effects is None else effects.objective,
        "unit": None if effects is None else effects.unit,
        "rank_correlation": None if effects is None else effects.correlation,
        "effects": [
            {
                "choice": effect.choice,
                "from": each.one,
                "to": each.other,
                "architectures": each.architectures,
                "difference": each.difference,
                "low": each.low,
                "high": each.high,
                "distinguishable": each.is_distinguishable,
            }
            for effect in (() if effects is None else effects.all_effects)
            for each in effect.comparisons
        ],
    }


def show_choices(found: ChoiceAnalysis) -> None:
    """Print the sentences and the table of effects."""
    output().print(choices_view(found))


def choices_view(found: ChoiceAnalysis) -> RenderableType:
    """Return the sentences and the table of effects; without results, the reason."""
    parts: list[RenderableType] = [Text("\nWhich choices matter", style="bold")]
    if found.note is not None:
        return Group(*parts, Text(found.note))
    sentences = Table.grid(padding=(0, 1, 0, 0))
    for each in found.findings:
        sentences.add_row("-", Text(each))
    parts.append(sentences)
    if found.effects is not None and found.effects.all_effects:
        parts += [_table(found.effects), Text(EFFECT_METHOD, style="dim")]
    return Group(*parts)


def _table(effects: ChoiceEffects) -> RenderableType:
    heading = f"effect on {effects.objective}, {effects.unit}"
    columns = ("choice", "change", heading)
    grid = table(*columns, left=columns, fold=columns)
    for effect in effects.all_effects:
        each = effect.summary
        text = difference_text(each) if each.is_distinguishable else NOT_DISTINGUISHABLE
        grid.add_row(effect.choice, change_text(each), text)
    return grid
