"""`nas dashboard`: show studies in the browser, live while they run."""

from pathlib import Path
from typing import Annotated

import typer


def dashboard(
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            help="Study files, included studies, or names of studies.",
            show_default="all studies in the database",
        ),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Database URL; replaces the one in the study files.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 selects a free one.", min=0, max=65_535)
    ] = 8080,
    exports: Annotated[
        Path, typer.Option(help="Folder that the export button on the page writes to.")
    ] = Path("exports"),
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
) -> None:
    """Show studies in the browser, live.

    The page compares candidates and exports a winner.
    """
    from nas.dashboard.open_studies import OpenStudies
    from nas.dashboard.serving import listen, open_browser, serve
    from nas.exporters.export_folder import ExportFolder
    from nas.inputs.study_argument import DEFAULT_STORAGE, find_study, is_study_file
    from nas.views.terminal import notices

    places = [find_study(study, storage) for study in studies or []]
    with OpenStudies(places, storage or DEFAULT_STORAGE) as shown, listen(host, port) as listening:
        for name in studies or []:
            # The study of a file may still be started; a name must be in the database.
            if not is_study_file(name):
                shown.store(name).study(name)
        notices().print(f"{listening.url}  (stop with Ctrl-C)", soft_wrap=True)
        if not no_open:
            open_browser(listening.url)
        serve(listening, shown, ExportFolder(path=exports))
