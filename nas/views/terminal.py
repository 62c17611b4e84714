"""What the terminal shows: consoles, tables, layout strips and bars, legible without colour."""

import json
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from search_space.architecture import MIXERS, layout_letters

# Before a value whose measurement ended before it was as precise as the study asks for.
UNSETTLED = "~"
_BAR_CELLS = 32
_EIGHTHS = " ▏▎▍▌▋▊▉"


def output() -> Console:
    """Results go to standard output; what is in brackets is shown, as names of files have them."""
    return Console(highlight=False, markup=False)


def notices() -> Console:
    """Progress and remarks go to standard error, so that results can be piped."""
    return Console(stderr=True, highlight=False, markup=False)


def print_json(document: object) -> None:
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")


def table(*columns: str, left: Sequence[str] = (), fold: Sequence[str] = ()) -> Table:
    """Columns hold numbers, set to the right, but for those in `left`; those in `fold` may wrap."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        justify: JustifyMethod = "left" if column in left else "right"
        grid.add_column(column, justify=justify, no_wrap=column not in fold, overflow="fold")
    return grid


def broken(heading: str) -> str:
    """Over several lines, for a column that leaves others room."""
    return heading.replace("_", "_\n").replace("/", "/\n")


def layout_strip(layout: str) -> Text:
    """One coloured letter a layer, from the first."""
    return Text.assemble(
        *((letter, f"black on {MIXERS[letter].colour}") for letter in layout_letters(layout))
    )


def layout_legend(layout: str) -> Text:
    parts = [
        f"{letter} {kind.name} x {layout.count(letter)}"
        for letter, kind in MIXERS.items()
        if letter in layout
    ]
    return Text(", ".join(parts), style="dim")


def bar(share: float, cells: int = _BAR_CELLS) -> str:
    """A bar of `share` (0 to 1) of `cells` character cells, to an eighth of a cell."""
    eighths = round(share * cells * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def unsettled_legend(precision: float) -> str:
    return f"{UNSETTLED}: not settled, known less well than the ±{100 * precision:g}% asked for"
