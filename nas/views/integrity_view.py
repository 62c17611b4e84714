"""The result of checking a database, for the terminal and as JSON."""

from rich.console import Group, RenderableType
from rich.text import Text

from studies.storage.integrity import IntegrityReport


def integrity_document(report: IntegrityReport) -> dict[str, object]:
    """Return the result of a check as plain data for JSON."""
    return {
        "sound": not report.damage,
        "damage": list(report.damage),
        "remarks": list(report.remarks),
        "rows": dict(report.rows),
    }


def integrity_view(report: IntegrityReport) -> RenderableType:
    """Return the result of a check as lines of text."""
    rows = f"{sum(report.rows.values()):,} rows in {len(report.rows)} tables"
    lines = [Text(f"damaged: {fault}", style="red") for fault in report.damage]
    lines += [Text(f"remark: {remark}") for remark in report.remarks]
    verdict = "checked" if report.damage else "sound"
    return Group(*lines, Text(f"{verdict}: {rows}"))
