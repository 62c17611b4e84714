"""`nas report`: a study in one file, with its charts and what they say in sentences."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ReportFormat(StrEnum):
    HTML = "html"
    MARKDOWN = "md"


def report(
    study: Annotated[str, typer.Argument(help="A study file, or a study's name.")],
    target: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; by default the study's name."),
    ] = None,
    file_format: Annotated[
        ReportFormat,
        typer.Option("--format", help="A page that opens without a network, or Markdown."),
    ] = ReportFormat.HTML,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    storage: Annotated[
        str | None, typer.Option(help="Database URL, instead of the study file's.")
    ] = None,
) -> None:
    """Write a study's front, findings, charts and settings to one file, to be sent to somebody."""
    from datetime import UTC, datetime

    from nas.dashboard.document import StudyDocuments
    from nas.exporters.output import file_name, writing_file
    from nas.findings.wording import file_size
    from nas.inputs.study_argument import find_study
    from nas.report.markdown import report_markdown
    from nas.report.page import report_html
    from nas.views.terminal import output
    from studies.storage.store import Store

    writers = {ReportFormat.HTML: report_html, ReportFormat.MARKDOWN: report_markdown}
    place = find_study(study, storage)
    path = target or Path(file_name(f"{place.name}.{file_format}"))
    with writing_file(path, overwrite=force) as unfinished:
        with Store.open_to_read(place.storage) as store:
            documents = StudyDocuments(store, place.name)
            document, why = documents.document(), documents.why()
        text = writers[file_format](document, why, datetime.now(UTC))
        unfinished.write_text(text, encoding="utf-8")
    output().print(f"wrote {path}, {file_size(len(text.encode()))}", soft_wrap=True)
