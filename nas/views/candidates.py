"""A table of candidates that leaves room for their layouts, however narrow the terminal is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table

from nas.views.terminal import broken, layout_strip, table
from studies.records import ModelSummary

_LAYOUT = "layout"
# Wider than any table: a table is measured at most as wide as what it is measured for.
_UNBOUNDED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A candidate by its names, and figures of it, such as `12.50 ±0.2`."""

    names: tuple[str, ...]
    model: ModelSummary
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateTable:
    """Names, the layout, millions of parameters, and figures.

    Where a layout would take more than two lines, headings break and intervals go below their
    values; where it still would, parameters go.
    """

    names: tuple[str, ...]
    figures: tuple[str, ...]
    rows: tuple[Row, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        sizes = [f"{row.model.parameters / 1e6:,.1f}" for row in self.rows]
        figures = {
            heading: [row.figures[place] for row in self.rows]
            for place, heading in enumerate(self.figures)
        }
        closed = {
            broken(heading): [cell.replace(" ±", "\n±") for cell in cells]
            for heading, cells in figures.items()
        }
        grids = [
            self._grid({"million": sizes, **figures}),
            self._grid({"million": sizes, **closed}),
            self._grid(closed),
        ]
        unbounded, room = options.update(width=_UNBOUNDED), options.max_width + self._foldable
        fitting = (
            grid for grid in grids if Measurement.get(console, unbounded, grid).maximum <= room
        )
        yield next(fitting, grids[-1])

    @property
    def _foldable(self) -> int:
        """By how much the layouts may become narrower."""
        longest = max((len(row.model.layout) for row in self.rows), default=0)
        return max(0, longest - max(len(_LAYOUT), (longest + 1) // 2))

    def _grid(self, figures: Mapping[str, Sequence[str]]) -> Table:
        names = (*self.names, _LAYOUT)
        grid = table(*names, *figures, left=names, fold=(_LAYOUT,))
        for place, row in enumerate(self.rows):
            cells = (column[place] for column in figures.values())
            grid.add_row(*row.names, layout_strip(row.model.layout), *cells)
        return grid
