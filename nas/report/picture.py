"""Draws the front as a static SVG, for readers whose browser runs no scripts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from nas.dashboard.form import AxisDocument, Document
from nas.views.scatter import ticks

_WIDTH, _HEIGHT = 860, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 36, 50
# Dominated candidates only show the shape of the cloud; more of them would make the file large.
_MAX_DOMINATED = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """A trial in the picture; low and high bound the confidence interval of x, if there is one.

    A trial with a provisional value on either axis is drawn hollow.
    """

    x: float
    y: float
    low: float | None
    high: float | None
    is_provisional: bool
    label: str


def front_picture(document: Document) -> str:
    """Return an SVG of the first objective against the second.

    Args:
        document: The whole document of the study.

    Returns:
        The SVG element, or an empty string if no candidate is complete.
    """
    y_axis, x_axis = [axis for axis in document["axes"] if axis["objective"]][:2]
    front = set(document["front"])
    members, dominated, references = [], [], []
    trials = document["trials"]
    for row, trial in enumerate(trials["id"]):
        mark = _mark(document, row, x_axis["name"], y_axis["name"])
        if mark is None:
            continue
        if trials["kind"][row] == "reference":
            references.append(mark)
        elif trial in front:
            members.append(mark)
        elif trials["state"][row] == "complete" and trials["duplicate_of"][row] is None:
            dominated.append(mark)
    if not members:
        return ""
    dominated = dominated[:: -(-len(dominated) // _MAX_DOMINATED) or 1]
    plot = _Plot(dominated, [*members, *references])
    label = f"Pareto front: {y_axis['name']} against {x_axis['name']}"
    return "\n".join(
        [
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">',
            *plot.axes(_title(x_axis), _title(y_axis)),
            '<g fill="currentColor" opacity="0.3">',
            *(plot.dot(mark, 2) for mark in dominated if not mark.is_provisional),
            '</g><g stroke="currentColor" opacity="0.3">',
            *(plot.dot(mark, 2) for mark in dominated if mark.is_provisional),
            '</g><g fill="#0072b2" stroke="#0072b2">',
            *(line for mark in members for line in plot.with_interval(mark)),
            '</g><g fill="#d55e00" stroke="#d55e00">',
            *(line for mark in references for line in plot.with_interval(mark)),
            "</g>",
            *plot.legend(),
            "</svg>",
        ]
    )


class _Plot:
    """Converts the values of two axes into positions on the picture."""

    def __init__(self, dots: Sequence[_Mark], with_intervals: Sequence[_Mark]) -> None:
        marks = [*dots, *with_intervals]
        ends = [end for mark in with_intervals for end in (mark.low, mark.high) if end is not None]
        self._x_ticks = ticks([*ends, *(mark.x for mark in marks)], most=7)
        self._y_ticks = ticks([mark.y for mark in marks], most=6)
        self._has_hollow = any(mark.is_provisional for mark in marks)

    def dot(self, mark: _Mark, radius: int) -> str:
        hollow = ' fill="none" stroke-width="1.5"' if mark.is_provisional else ""
        return f'<circle cx="{self._x(mark.x)}" cy="{self._y(mark.y)}" r="{radius}"{hollow}/>'

    def legend(self) -> Iterator[str]:
        if not self._has_hollow:
            return
        x, y = _WIDTH - 100, _TOP - 20
        yield f'<circle cx="{x - 10}" cy="{y - 4}" r="4" fill="none" stroke="currentColor"/>'
        yield f'<text x="{x}" y="{y}" fill="currentColor" font-size="12">provisional</text>'

    def with_interval(self, mark: _Mark) -> Iterator[str]:
        x, y = self._x(mark.x), self._y(mark.y)
        if mark.low is not None and mark.high is not None:
            yield f'<path d="M{self._x(mark.low)} {y}H{self._x(mark.high)}"/>'
        yield f"<g><title>{escape(mark.label)}</title>{self.dot(mark, 4)}</g>"
        if not mark.label.isdecimal():
            yield f'<text x="{x + 7}" y="{y + 4}" stroke="none">{escape(mark.label)}</text>'

    def axes(self, x_title: str, y_title: str) -> Iterator[str]:
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        yield '<g fill="none" stroke="currentColor" opacity="0.2">'
        for tick in self._x_ticks:
            yield f'<path d="M{self._x(tick)} {_TOP}V{bottom}"/>'
        for tick in self._y_ticks:
            yield f'<path d="M{_LEFT} {self._y(tick)}H{right}"/>'
        yield '</g><g fill="currentColor" font-size="12">'
        for tick in self._x_ticks:
            x = self._x(tick)
            yield f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'
        for tick in self._y_ticks:
            y = self._y(tick) + 4
            yield f'<text x="{_LEFT - 8}" y="{y}" text-anchor="end">{tick:g}</text>'
        yield f'<text x="{right}" y="{_HEIGHT - 8}" text-anchor="end">{escape(x_title)}</text>'
        yield f'<text x="4" y="{_TOP - 20}">{escape(y_title)}</text></g>'

    def _x(self, value: float) -> float:
        share = (value - self._x_ticks[0]) / (self._x_ticks[-1] - self._x_ticks[0])
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def _y(self, value: float) -> float:
        share = (value - self._y_ticks[0]) / (self._y_ticks[-1] - self._y_ticks[0])
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def _mark(document: Document, row: int, x_name: str, y_name: str) -> _Mark | None:
    """Return None for a trial that lacks one of the scores."""
    scores = document["trials"]["scores"]
    if x_name not in scores or y_name not in scores:
        return None
    x, y = scores[x_name], scores[y_name]
    x_value, y_value = x["value"][row], y["value"][row]
    if x_value is None or y_value is None:
        return None
    return _Mark(
        x=x_value,
        y=y_value,
        low=None if x["low"] is None else x["low"][row],
        high=None if x["high"] is None else x["high"][row],
        is_provisional=any(each["provisional"] and each["provisional"][row] for each in (x, y)),
        label=document["trials"]["name"][row],
    )


def _title(axis: AxisDocument) -> str:
    return f"{axis['name']} {axis['unit']}".strip()
