"""The times of models on several devices, side by side, and as a JSON document."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evaluators.speed.device_file import channel_of
from nas.findings.wording import marked, number
from nas.views.comparison_view import comparison_document, comparison_view
from nas.views.terminal import table
from nas.workflows.comparison import Result, results_of
from nas.workflows.device_comparison import DeviceComparison
from studies.confirmation.confirmation_statistics import FEWEST_RANKED, rank_correlation


def device_comparisons_document(found: Sequence[DeviceComparison]) -> dict[str, Any]:
    """Return the document that `nas measure --json` prints.

    With named devices, it has a list `devices`; otherwise it is that of the comparison.
    """
    if all(each.device is None for each in found):
        return comparison_document(found[0].comparison)
    return {
        "devices": [
            {
                "name": None if each.device is None else each.device.name,
                **comparison_document(each.comparison),
            }
            for each in found
        ]
    }


def device_comparisons_view(found: Sequence[DeviceComparison]) -> RenderableType:
    """Return the tables of each device, followed by the times side by side."""
    measured = [each for each in found if each.comparison.measured]
    parts: list[RenderableType] = []
    for each in measured:
        if each.device is not None:
            reached = channel_of(each.device.definition).name
            parts.append(Text(f"{each.device.name} ({reached})", style="bold"))
        is_last = each is measured[-1]
        parts += [comparison_view(each.comparison, is_explained=is_last), Text()]
    if len(measured) > 1:
        parts += [Text("side by side: median times in ms", style="bold"), _side_by_side(measured)]
        parts += [Text(line) for line in _rank_correlations(measured)]
    return Group(*parts)


def _side_by_side(found: Sequence[DeviceComparison]) -> Table:
    names = [_name(each) for each in found]
    grid = table("workload", "model", *names, left=("workload", "model"), fold=("model",))
    by_device = [_by_model(each) for each in found]
    shown = None
    for workload, model in dict.fromkeys(key for results in by_device for key in results):
        if shown not in (None, workload):
            grid.add_section()
        cells = (results.get((workload, model)) for results in by_device)
        grid.add_row("" if workload == shown else workload, model, *map(_time, cells))
        shown = workload
    return grid


def _rank_correlations(found: Sequence[DeviceComparison]) -> Iterator[str]:
    """Say how alike two devices rank the models, if there are enough of them."""
    for one, other in combinations(found, 2):
        first, second = _by_model(one), _by_model(other)
        for workload in dict.fromkeys(workload for workload, _ in first):
            both = [key for key in first if key[0] == workload and key in second]
            if len(both) < FEWEST_RANKED:
                continue
            correlation = rank_correlation(
                [first[key].p50_ms for key in both], [second[key].p50_ms for key in both]
            )
            if correlation is not None:
                yield (
                    f"{workload}: {_name(one)} and {_name(other)} rank {len(both)} models with a "
                    f"Spearman correlation of {correlation.value:.2f} (95 % confidence interval: "
                    f"{correlation.low:.2f} to {correlation.high:.2f})"
                )


def _by_model(found: DeviceComparison) -> dict[tuple[str, str], Result]:
    """Return the results by workload and model."""
    results = results_of(found.comparison)
    return {(str(result.workload), result.model.name): result for result in results}


def _time(result: Result | None) -> str:
    if result is None:
        return "–"
    return marked(number(result.p50_ms), is_provisional=result.provisional)


def _name(found: DeviceComparison) -> str:
    return "this machine" if found.device is None else found.device.name
