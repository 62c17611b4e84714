"""Writes a report as Markdown, with the findings and the tables."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from nas.dashboard.form import Document
from nas.dashboard.why_form import Why
from nas.report.effects_table import effects_table
from nas.report.page import confirmation_findings, date_line, limitations
from nas.report.printable import printable
from nas.report.tables import Table, tables

# Characters with a meaning in Markdown, or in the HTML that it may contain.
_SPECIAL = re.compile(r"([\\`*_\[\]#|~!&<>])")


def report_markdown(document: Document, why: Why, made_at: datetime) -> str:
    """Return a report as Markdown.

    Args:
        document: The whole document of the study.
        why: The document that says which choices matter.
        made_at: The time that the report names, in UTC.
    """
    return "\n".join(_lines(printable(document), printable(why), made_at)) + "\n"


def _lines(document: Document, why: Why, made_at: datetime) -> Iterator[str]:
    yield f"# {_escaped(document['study'])}: report"
    yield ""
    yield _escaped(date_line(document, made_at))
    yield from _list("Findings", [*document["findings"], *why["findings"]])
    yield from _list("Confirmation of the losses", confirmation_findings(document))
    yield from _list("Limitations", limitations(document, why))
    for table in (*effects_table(why), *tables(document)):
        yield from _table(table)


def _list(title: str, sentences: Sequence[str]) -> Iterator[str]:
    if sentences:
        yield from ("", f"## {title}", "")
        yield from (f"- {_escaped(sentence)}" for sentence in sentences)


def _table(table: Table) -> Iterator[str]:
    yield from ("", f"## {table.title}", "")
    yield _row(table.columns)
    sides = ["--:" if n in table.numbers else "---" for n in range(len(table.columns))]
    yield f"| {' | '.join(sides)} |"
    for row in table.rows:
        yield _row(row)
    for note in table.notes:
        yield from ("", _escaped(note))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text: str) -> str:
    """Return the text on one line, without Markdown markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
