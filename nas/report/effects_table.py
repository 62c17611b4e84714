"""The table of a report that shows in which direction the choices change the loss."""

from collections.abc import Iterator

from nas.dashboard.why_form import EffectDocument, Why
from nas.findings.choice_findings import NOT_DISTINGUISHABLE
from nas.report.tables import Table


def effects_table(why: Why) -> Iterator[Table]:
    """Yield the table; none if no effects could be estimated.

    Args:
        why: The document that states which choices matter.
    """
    effects = why["effects"]
    if effects is None or not effects["effects"]:
        return
    heading = f"effect on {effects['objective']}, {effects['unit']}, with 95 % interval"
    yield Table(
        title=f"Effects of the choices on {effects['objective']}",
        columns=("choice", "change", heading),
        rows=tuple((each["choice"], *_cells(each)) for each in effects["effects"]),
        notes=(effects["method"],),
    )


def _cells(effect: EffectDocument) -> tuple[str, str]:
    comparison = effect["comparisons"][effect["summary"]]
    text = comparison["text"] if effect["distinguishable"] else NOT_DISTINGUISHABLE
    return comparison["change"], text
