"""Writes a report as one HTML file: static text and tables, and charts where scripts run."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape

from nas.dashboard.document import json_bytes
from nas.dashboard.form import Document
from nas.dashboard.why_form import Why
from nas.report.bundle import scripts, stylesheet
from nas.report.effects_table import effects_table
from nas.report.picture import front_picture
from nas.report.printable import printable
from nas.report.tables import Table, tables

# Nothing is fetched, whatever a text from the database contains.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; "
    "img-src data: blob:"
)
_STYLE = """
.report { max-width: 1400px; margin: 0 auto; padding: 0 24px; }
header.report { padding-top: 20px; }
.report h2 { font-size: 1.15em; margin: 28px 0 8px; }
.report li { margin: 4px 0; max-width: 100ch; }
.report table { border-collapse: collapse; display: block; overflow-x: auto; }
.report th, .report td { padding: 2px 14px 2px 0; text-align: left; vertical-align: top; }
.report td:first-child { overflow-wrap: anywhere; }
.report .number { text-align: right; font-variant-numeric: tabular-nums; }
.report svg { width: 100%; max-width: 900px; height: auto; font-size: 12px; }
.drawn .static, .drawn .top h1 { display: none; }
@media (width < 640px) { .report { padding: 0 22px; } }
"""


def report_html(document: Document, why: Why, made_at: datetime) -> str:
    """Return a report as a self-contained HTML page.

    Args:
        document: The whole document of the study.
        why: The document that says which choices matter.
        made_at: The time that the report names, in UTC.
    """
    return "\n".join(_page(printable(document), printable(why), made_at))


def _page(document: Document, why: Why, made_at: datetime) -> Iterator[str]:
    title = escape(f"{document['study']}: report")
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield f"<title>{title}</title><style>{stylesheet()}{_STYLE}</style></head><body>"
    dates = escape(date_line(document, made_at))
    yield f'<header class="report"><h1>{title}</h1><p>{dates}</p></header>'
    # The charts repeat this section, so it is hidden once they are drawn.
    yield '<section class="report static">'
    yield from _list("Findings", [*document["findings"], *why["findings"]])
    yield from _list("Confirmation of the losses", confirmation_findings(document))
    yield from _list("Limitations", limitations(document, why))
    yield front_picture(document)
    for table in effects_table(why):
        yield from _table(table)
    yield '</section><main id="charts"></main><section class="report">'
    for table in tables(document):
        yield from _table(table)
    yield "</section>"
    for name, data in (("document", document), ("why", why)):
        text = json_bytes(data).decode().replace("<", r"\u003c")
        yield f'<script type="application/json" id="study-{name}">{text}</script>'
    yield f"{scripts()}</body></html>"


def confirmation_findings(document: Document) -> list[str]:
    """Return what the confirmation shows; empty if nothing has been retrained."""
    confirmation = document["confirmation"]
    return [] if confirmation is None else confirmation["findings"]


def limitations(document: Document, why: Why) -> list[str]:
    """Return what the study does not show, including why the choices could not be analysed."""
    found = document["limitations"]
    return found if why["note"] is None else [*found, why["note"]]


def date_line(document: Document, made_at: datetime) -> str:
    """Return when the study was started and when the report was made, as one line."""
    start = datetime.fromtimestamp(document["created_at"], UTC)
    return f"Study started on {start:%d %B %Y}; report made on {made_at:%d %B %Y at %H:%M} UTC"


def _list(title: str, sentences: Sequence[str]) -> Iterator[str]:
    if sentences:
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        yield f"<h2>{escape(title)}</h2><ul>{items}</ul>"


def _table(table: Table) -> Iterator[str]:
    yield f"<h2>{escape(table.title)}</h2><table><thead><tr>"
    yield "".join(_cell("th", table, index, text) for index, text in enumerate(table.columns))
    yield "</tr></thead><tbody>"
    for row in table.rows:
        cells = "".join(_cell("td", table, index, text) for index, text in enumerate(row))
        yield f"<tr>{cells}</tr>"
    yield "</tbody></table>"
    yield from (f"<p>{escape(note)}</p>" for note in table.notes)


def _cell(tag: str, table: Table, index: int, text: str) -> str:
    side = ' class="number"' if index in table.numbers else ""
    return f"<{tag}{side}>{escape(text)}</{tag}>"
