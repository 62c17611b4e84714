"""The option `--devices` of the commands that measure."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

DevicesOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--devices",
        help="File of devices.",
        show_default="devices.toml, next to the study file or in the current folder, or else in "
        "the user's configuration folder",
    ),
]
