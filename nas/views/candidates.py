"""A table of candidates that leaves room for their layouts, however narrow the terminal is."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table

from nas.views.terminal import layout_strip, table
from studies.records import ModelSummary

_LAYOUT, _SIZE = "layout", "million"
# Wider than any table: measured at less, one that does not fit is measured as cut.
_UNBOUNDED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A candidate: what it is called, and figures of it, such as `12.50 ±0.2`."""

    names: tuple[str, ...]
    model: ModelSummary
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateTable:
    """Names, layout, millions of parameters, and figures.

    Where layouts would take more than two lines each, headings break and intervals go below their
    values; where that is not enough, parameters go. Figures are never cut for a layout.
    """

    names: tuple[str, ...]
    figures: tuple[str, ...]
    rows: tuple[Row, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        longest = max((len(row.model.layout) for row in self.rows), default=0)
        room = options.max_width + longest // 2
        unbounded = options.update(width=_UNBOUNDED)
        grid = self._grid()
        for closer in (self._closed(), self._closed()._without_sizes()):
            if Measurement.get(console, unbounded, grid).maximum <= room:
                break
            grid = closer
        yield grid
