"""The trials at work in a live view: a row for each, as many as fit on the terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from nas.views.live_stage import LiveStage
from nas.views.terminal import layout_strip
from studies.records import ModelSummary

_FEWEST_ROWS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRow:
    """A trial at work.

    Attributes:
        title: The name of the trial, such as `trial 7`.
        model: Its architecture; None until one has been drawn.
        label: What is done with it, such as the name of the stage.
        stage: The stage.
        is_paused: Whether the stage waits for a measurement.
    """

    title: str
    model: ModelSummary | None
    label: str
    stage: LiveStage
    is_paused: bool = False

    def clause(self) -> str:
        """Return the row as a clause of a line, such as `trial 7 training 25 % (paused)`."""
        done = f"{100 * self.stage.done:.0f} %"
        return f"{self.title} {self.stage.name} {done}" + (" (paused)" if self.is_paused else "")


class LiveRows:
    """The rows that began last, and a line with the number of those that do not fit."""

    def __init__(self, rows: Sequence[LiveRow], now: float, *, other_lines: int) -> None:
        """Choose the rows.

        Args:
            rows: The trials at work, in the order in which their stages began.
            now: The present time in seconds.
            other_lines: How many lines of the terminal the rest of the view takes.
        """
        self._rows = rows
        self._now = now
        self._other_lines = other_lines

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yield a table of the rows that fit, and the line about the others."""
        # The cursor needs a line as well.
        fitting = max(_FEWEST_ROWS, options.size.height - self._other_lines - 1)
        if len(self._rows) > fitting:
            fitting -= 1  # for the last line
        grid = Table.grid(padding=(0, 1))
        for row in self._rows[-fitting:]:
            layout = "" if row.model is None else layout_strip(row.model.layout)
            cells = row.stage.cells(self._now, is_paused=row.is_paused)
            grid.add_row(Text(row.title, style="bold"), layout, row.label, *cells)
        yield grid
        yield from more_line(len(self._rows) - fitting)


def more_line(count: int) -> Iterator[Text]:
    """Yield a line about items that are not shown, if there are any: `and 5 more`."""
    if count > 0:
        yield Text(f"and {count:,} more", style="dim")
