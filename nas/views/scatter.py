"""A scatter plot in plain characters, legible in 80 columns and without colour."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

# An axis whose values are all smaller than this has a length of 1.
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A symbol at a point of the plot.

    Attributes:
        x: The horizontal coordinate.
        y: The vertical coordinate.
        symbol: One character.
        label: A text that is written next to the symbol if there is room.
    """

    x: float
    y: float
    symbol: str
    label: str = ""


def scatter(
    marks: Sequence[Mark], *, x_title: str, y_title: str, columns: int = 78, rows: int = 16
) -> str:
    """Draw a scatter plot.

    The axes end at round numbers. The x axis is logarithmic if its values span more than a decade.

    Args:
        marks: The points, at least one, with finite coordinates. Later ones cover earlier ones.
        x_title: The title of the horizontal axis.
        y_title: The title of the vertical axis.
        columns: The width of the drawing, labels included, in characters.
        rows: The height of the area in which marks are drawn, in lines.

    Returns:
        The lines of the drawing, joined by line breaks.
    """
    lowest, highest = min(mark.x for mark in marks), max(mark.x for mark in marks)
    logarithmic = lowest > 0 and highest > 10 * lowest
    if logarithmic:
        marks = [replace(mark, x=math.log10(mark.x)) for mark in marks]
        x_title = f"{x_title} (log)"
    x_ticks = (_decades if logarithmic else ticks)([mark.x for mark in marks], most=5)
    y_ticks = ticks([mark.y for mark in marks], most=4)
    y_labels = [f"{tick:g}" for tick in y_ticks]
    margin = max(map(len, y_labels)) + 1
    plot_columns = columns - margin - 1
    grid = [[" "] * plot_columns for _ in range(rows)]

    def column(x: float) -> int:
        return round((x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (plot_columns - 1))

    def row(y: float) -> int:
        return rows - 1 - round((y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (rows - 1))

    for mark in marks:
        grid[row(mark.y)][column(mark.x)] = mark.symbol
    for mark in marks:
        _label(grid[row(mark.y)], column(mark.x), mark.label)

    edge = [" " * margin + "│"] * rows
    for tick, label in zip(y_ticks, y_labels, strict=True):
        edge[row(tick)] = f"{label:>{margin - 1}} ┤"
    lines = [f"{y_title}"]
    lines += [left + "".join(cells).rstrip() for left, cells in zip(edge, grid, strict=True)]
    lines.append(_x_axis(margin, plot_columns, [column(tick) for tick in x_ticks]))
    x_labels = _labels_of([10**tick if logarithmic else tick for tick in x_ticks])
    lines.append(_x_labels(margin, columns, x_labels, [column(tick) for tick in x_ticks]))
    lines.append(x_title.rjust(columns))
    return "\n".join(lines)


def _labels_of(values: Sequence[float]) -> list[str]:
    """Format ticks with three digits, or with as many as it takes to distinguish them."""
    for digits in range(3, 12):
        rounded = [float(f"{value:.{digits}g}") for value in values]
        if len(set(rounded)) == len(values):
            break
    return [f"{value:,.{max(6, digits)}g}" for value in rounded]


def _label(cells: list[str], column: int, label: str) -> None:
    """Write a label to the right of its mark, or to the left, if those cells are empty."""
    length = len(label)
    for start in (column + 2, column - 1 - length):
        if start >= 0 and length and cells[start : start + length] == [" "] * length:
            cells[start : start + length] = label
            return


def _x_axis(margin: int, plot_columns: int, ticks: Sequence[int]) -> str:
    line = ["─"] * plot_columns
    for tick in ticks:
        line[tick] = "┬"
    return " " * margin + "└" + "".join(line)


def _x_labels(margin: int, columns: int, labels: Sequence[str], places: Sequence[int]) -> str:
    line = [" "] * (columns + 1)
    for label, place in zip(labels, places, strict=True):
        start = min(margin + 1 + place - len(label) // 2, columns - len(label))
        line[start : start + len(label)] = label
    return "".join(line).rstrip()


def ticks(values: Sequence[float], most: int) -> list[float]:
    """Return evenly spaced round numbers that enclose the values.

    Args:
        values: The finite values; at least one.
        most: The largest number of steps between the smallest and the largest value.

    Returns:
        Up to `most` + 2 numbers in ascending order.
    """
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    span = high - low
    if span < 1e-5 * size or size < _NEGLIGIBLE:  # practically a single value
        span = size / 10 if size >= _NEGLIGIBLE else 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / most))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude * most >= span)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def _decades(logarithms: Sequence[float], most: int) -> list[float]:
    """Return the logarithms of 1, 2, 5, 10, ... (or 1, 10, ... if too many) that enclose values."""
    first, last = math.floor(min(logarithms)), math.ceil(max(logarithms))
    for factors in ((1, 2, 5), (1,)):
        grid = [
            power + math.log10(factor) for power in range(first, last + 1) for factor in factors
        ]
        start = max(index for index, tick in enumerate(grid) if tick <= min(logarithms) + 1e-9)
        end = min(index for index, tick in enumerate(grid) if tick >= max(logarithms) - 1e-9)
        if end - start <= most + 3:
            break
    return grid[start : end + 1]
