"""`nas dashboard`: studies in the browser, live while they run."""

from pathlib import Path
from typing import Annotated

import typer


def dashboard(
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            help="Study files, or names of studies; several are compared. All, where none is named."
        ),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Database URL, instead of the study files'.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes any that is free.", min=0, max=65_535)] = 8080,
    exports: Annotated[
        Path, typer.Option(help="Folder that the page's export button writes to.")
    ] = Path("exports"),
    no_open: Annotated[bool, typer.Option("--no-open", help="Open no browser.")] = False,
) -> None:
    """Watch and compare studies in the browser, and choose a winner there."""
    from nas.dashboard.open_studies import OpenStudies
    from nas.dashboard.serving import listen, open_browser, serve
    from nas.exporters.export_folder import ExportFolder
    from nas.inputs.study_argument import DEFAULT_STORAGE, describes_study, find_study
    from nas.views.terminal import notices

    places = [find_study(study, storage) for study in studies or []]
    with OpenStudies(places, storage or DEFAULT_STORAGE) as shown, listen(host, port) as listening:
        for name in studies or []:
            if not describes_study(name):
                shown.store(name).study(name)  # of what is only named, nothing says that it will be
        notices().print(f"{listening.url}  (Ctrl-C ends it)", soft_wrap=True)
        if not no_open:
            open_browser(listening.url)
        serve(listening, shown, ExportFolder(path=exports))
