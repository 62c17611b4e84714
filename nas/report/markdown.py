"""A report as Markdown: the findings and the tables."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from nas.dashboard.form import Document, Why
from nas.report.page import dates, trusted, unproven
from nas.report.tables import Table, tables

# What Markdown or HTML in it may read as more than text.
_SIGNIFICANT = re.compile(r"([\\`*_\[\]#|~!&<>])")


def report_markdown(document: Document, why: Why, made_at: datetime) -> str:
    """document: a whole one."""
    return "\n".join(_lines(document, why, made_at)) + "\n"


def _lines(document: Document, why: Why, made_at: datetime) -> Iterator[str]:
    yield f"# {_escaped(document['study'])}: report"
    yield ""
    yield _escaped(dates(document, made_at))
    yield from _list("Findings", [*document["findings"], *why["findings"]])
    yield from _list("How far to trust the losses", trusted(document))
    yield from _list("Left unproven", unproven(document, why))
    for table in tables(document):
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


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text: str) -> str:
    """On one line, and nothing but text."""
    return _SIGNIFICANT.sub(r"\\\1", " ".join(text.split()))
