"""`nas report`: write a study to one file, with its charts and findings."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ReportFormat(StrEnum):
    """A page for the browser, or text."""

    HTML = "html"
    MARKDOWN = "md"


def report(
    study: Annotated[
        str,
        typer.Argument(help="A study file, an included study, or the name of a study."),
    ],
    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file to write.",
            show_default="the name of the study",
        ),
    ] = None,
    file_format: Annotated[
        ReportFormat | None,
        typer.Option(
            "--format",
            help="html: a page that needs no network connection. md: Markdown.",
            show_default="by the suffix of --output, else html",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    storage: Annotated[
        str | None, typer.Option(help="Database URL; replaces the one in the study file.")
    ] = None,
) -> None:
    """Write a report of a study to share.

    The file contains the study's front, findings, charts and settings.
    """
    from datetime import UTC, datetime

    from nas.dashboard.document import StudyDocuments
    from nas.exporters.output import file_name, writing_file
    from nas.findings.wording import file_size
    from nas.inputs.study_argument import find_study
    from nas.report.markdown import report_markdown
    from nas.report.page import report_html
    from nas.views.live_stage import live_text
    from nas.views.terminal import output
    from studies.storage.store import Store

    writers = {ReportFormat.HTML: report_html, ReportFormat.MARKDOWN: report_markdown}
    chosen = file_format or _format_of(target)
    place = find_study(study, storage)
    path = target or Path(file_name(f"{place.name}.{chosen}"))
    with writing_file(path, overwrite=force) as unfinished, live_text(at_once=False) as say:
        with Store.open_to_read(place.storage) as store:
            documents = StudyDocuments(store, place.name)
            say("reading the study")
            document = documents.document()
            say("analysing which choices matter")
            why = documents.why()
        say("writing the report")
        text = writers[chosen](document, why, datetime.now(UTC))
        unfinished.write_text(text, encoding="utf-8")
    output().print(f"wrote {path}, {file_size(len(text.encode()))}", soft_wrap=True)


def _format_of(target: Path | None) -> ReportFormat:
    """Return the format that a suffix stands for; HTML without one."""
    if target is None or not target.suffix:
        return ReportFormat.HTML
    for file_format in ReportFormat:
        if target.suffix.lower() == f".{file_format}":
            return file_format
    raise ValueError(
        f"output: '{target}' ends in neither .html nor .md, so its format is not known; specify "
        "--format"
    )
