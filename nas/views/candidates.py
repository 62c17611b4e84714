"""A table of candidates that leaves room for their layouts in a narrow terminal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table

from nas.views.terminal import layout_strip, split_heading, table
from studies.records import ModelSummary

_LAYOUT = "layout"
_PARAMETERS = "params\nmillion"
# Wider than any table, because a table is never measured as wider than the given width.
_UNBOUNDED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The row of one candidate.

    Attributes:
        names: The cells before the layout, such as the trial's number.
        model: The candidate's model.
        figures: The cells after the number of parameters, such as `12.50 ±0.2`; see
            `nas.findings.wording.value_text`.
    """

    names: tuple[str, ...]
    model: ModelSummary
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateTable:
    """A table of names, layouts, numbers of parameters and figures.

    If the layouts would take more than two lines, headings are split and intervals are moved below
    their values, those by their ends in two lines. If that is not enough, the column of parameters
    is omitted.

    Attributes:
        names: The headings of the columns before the layout.
        figures: The headings of the columns after the number of parameters.
        rows: The rows, with as many cells as there are headings.
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
        narrow = {
            split_heading(heading): [_split_interval(cell) for cell in cells]
            for heading, cells in figures.items()
        }
        grids = [
            self._grid({_PARAMETERS: sizes, **figures}),
            self._grid({_PARAMETERS: sizes, **narrow}),
            self._grid(narrow),
        ]
        unbounded, room = options.update(width=_UNBOUNDED), options.max_width + self._foldable
        fitting = (
            grid for grid in grids if Measurement.get(console, unbounded, grid).maximum <= room
        )
        yield next(fitting, grids[-1])

    @property
    def _foldable(self) -> int:
        """The number of cells by which two lines per layout are narrower than one."""
        longest = max((len(row.model.layout) for row in self.rows), default=0)
        return max(0, longest - max(len(_LAYOUT), (longest + 1) // 2))

    def _grid(self, figures: Mapping[str, Sequence[str]]) -> Table:
        names = (*self.names, _LAYOUT)
        grid = table(*names, *figures, left=names, fold=(_LAYOUT,))
        for place, row in enumerate(self.rows):
            cells = (column[place] for column in figures.values())
            grid.add_row(*row.names, layout_strip(row.model.layout), *cells)
        return grid


def _split_interval(cell: str) -> str:
    return cell.replace(" ±", "\n±").replace(" (", "\n(").replace(" to ", "\nto ")
