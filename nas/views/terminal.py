"""Consoles, tables, layout strips and bars for the terminal, legible without colour."""

import json
import re
import signal
import sys
import threading
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from search_space.architecture import MIXERS, layout_letters

HALF_WIDTH_LEGEND = "±: half the width of the 95 % confidence interval"
ENDS_LEGEND = "in parentheses: the ends of a lopsided 95 % confidence interval"
_BAR_CELLS = 32
# All but tabs and line breaks, with those that reverse the direction of text.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_EIGHTHS = " ▏▎▍▌▋▊▉"


class ReportedInterrupt(KeyboardInterrupt):
    """Ctrl-C, after a sentence about what it stopped was printed."""


class _SafeConsole(Console):
    """A console on which text from files and databases cannot control the terminal.

    Escape sequences could change its title, clear it, or type commands in some terminals.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render an object, with a replacement character for each control character in its text."""
        for segment in super().render(renderable, options):
            if not segment.control and _CONTROLS.search(segment.text):
                segment = Segment(without_controls(segment.text), segment.style)
            yield segment


def without_controls(text: str) -> str:
    """Return a text with a replacement character for each control character.

    Tabs and line breaks remain. Characters that reverse the direction of text are replaced, too.
    """
    return _CONTROLS.sub("\ufffd", text)


def output() -> Console:
    """Return the console for results: standard output.

    Text in square brackets or between colons is printed as it is, because names may contain it.
    """
    return _SafeConsole(highlight=False, markup=False, emoji=False)


def notices() -> Console:
    """Return the console for progress and remarks: standard error, so that results can be piped."""
    return _SafeConsole(stderr=True, highlight=False, markup=False, emoji=False)


def reported_interrupt(text: str) -> ReportedInterrupt:
    """Print what Ctrl-C has stopped, and return the exception to raise.

    From now on Ctrl-C is ignored, because the process ends as soon as it can.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    notices().print(text, soft_wrap=True)
    return ReportedInterrupt(text)


def print_json(document: object) -> None:
    """Print a document as indented JSON to standard output."""
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")


def table(*columns: str, left: Sequence[str] = (), fold: Sequence[str] = ()) -> Table:
    """Create an empty table.

    Args:
        columns: The headings. Columns are aligned to the right, as numbers are.
        left: The columns that are aligned to the left instead.
        fold: The columns whose cells may take several lines.
    """
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        justify: JustifyMethod = "left" if column in left else "right"
        grid.add_column(column, justify=justify, no_wrap=column not in fold, overflow="fold")
    return grid


def split_heading(heading: str) -> str:
    """Split a heading into several lines after underscores and slashes, to narrow its column."""
    return heading.replace("_", "_\n").replace("/", "/\n")


def layout_strip(layout: str) -> Text:
    """Return a layout with the background of each letter in the colour of its mixer."""
    return Text.assemble(
        *((letter, f"black on {MIXERS[letter].colour}") for letter in layout_letters(layout))
    )


def layout_legend(layout: str) -> Text:
    """Return the letters of a layout with their mixers and the number of layers of each."""
    parts = [
        f"{letter} {kind.name} x {layout.count(letter)}"
        for letter, kind in MIXERS.items()
        if letter in layout
    ]
    return Text(", ".join(parts), style="dim")


def bar(fraction: float, cells: int = _BAR_CELLS) -> str:
    """Return a horizontal bar, with a resolution of an eighth of a character cell.

    Args:
        fraction: The length of the bar as a fraction of the full width, between 0 and 1.
        cells: The full width in character cells.
    """
    eighths = round(fraction * cells * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def interval_legend(cells: Iterable[str]) -> list[str]:
    """Explain how the 95 % confidence intervals in these cells are written, as zero to two lines.

    Args:
        cells: Values as `nas.findings.wording.value_text` formats them.
    """
    cells = list(cells)
    lines = [HALF_WIDTH_LEGEND] if any("±" in cell for cell in cells) else []
    return [*lines, ENDS_LEGEND] if any("(" in cell for cell in cells) else lines
