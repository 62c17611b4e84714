"""The options that say what happens while another process measures on this machine."""

from typing import Annotated, TypeAlias

import typer

LongestWaitOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Seconds to wait for another measurement on this machine.",
        show_default="600, plus twice the time limit of one timing",
    ),
]
"""See `hardware.machine_lock.make_lock_wait`."""

IfOccupiedOption: TypeAlias = Annotated[
    str,
    typer.Option(help="If that has not ended by then: measure, with provisional times, or stop."),
]
"""See `hardware.machine_lock.IfOccupied`; as text, because the parser of options checks nothing."""
