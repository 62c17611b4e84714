"""Draw a chart with two axes and a legend on its right, as an SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_WIDTH, _HEIGHT = 720, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 570, 20, 416
_TICKS = 5
_PAD = 0.06  # margin on either side, as a fraction of the range of the values


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis of a chart.

    Attributes:
        values: The values that the axis must show.
        label: The quantity and its unit.
        digits: Decimal places of the tick labels.
    """

    values: Sequence[float]
    label: str
    digits: int = 2

    def position(self, value: float) -> float:
        """Return where a value lies on the axis, from 0 at its start to 1 at its end."""
        least, most = min(self.values), max(self.values)
        pad = (most - least) * _PAD
        return (value - least + pad) / (most - least + 2 * pad)

    def ticks(self) -> list[tuple[float, str]]:
        values = np.linspace(min(self.values), max(self.values), _TICKS)
        return [(float(value), f"{value:,.{self.digits}f}") for value in values]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    x_axis: Axis
    y_axis: Axis

    def x(self, value: float) -> float:
        return round(_LEFT + self.x_axis.position(value) * (_RIGHT - _LEFT), 1)

    def y(self, value: float) -> float:
        return round(_BOTTOM - self.y_axis.position(value) * (_BOTTOM - _TOP), 1)

    def vertical_line(self, value: float, label: str) -> str:
        """Return a line over the whole height of the chart."""
        x = self.x(value)
        return (
            f'<path d="M{x} {_TOP}V{_BOTTOM}" stroke="#bbb"/>'
            f'<text x="{x + 4}" y="{_TOP + 26}">{label}</text>'
        )

    def svg(self, marks: Sequence[str], colours: Mapping[str, str], note: str) -> str:
        """Return the chart as an SVG document.

        Args:
            marks: SVG elements, drawn in their order.
            colours: Names and colours of the legend.
            note: Text below the legend.
        """
        labels = [
            f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}" fill="none" stroke="#888"/>',
            *(
                f'<text x="{self.x(value)}" y="{_BOTTOM + 16}" text-anchor="middle">{text}</text>'
                for value, text in self.x_axis.ticks()
            ),
            *(
                f'<text x="{_LEFT - 6}" y="{self.y(value) + 4}" text-anchor="end">{text}</text>'
                for value, text in self.y_axis.ticks()
            ),
            f'<text x="{_LEFT}" y="{_HEIGHT - 8}">{self.x_axis.label}</text>',
            f'<text x="{_LEFT + 8}" y="{_TOP + 4}">{self.y_axis.label}</text>',
        ]
        for row, (name, colour) in enumerate(colours.items()):
            y = _TOP + 20 * (row + 1)
            labels.append(
                f'<circle cx="{_RIGHT + 30}" cy="{y}" r="4.5" fill="{colour}"/>'
                f'<text x="{_RIGHT + 40}" y="{y + 4}">{name}</text>'
            )
        labels.append(f'<text x="{_RIGHT + 26}" y="{_TOP + 20 * len(colours) + 32}">{note}</text>')
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            'font-family="system-ui, sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="white"/>{"".join([*labels, *marks])}</svg>\n'
        )
