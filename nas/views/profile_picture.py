"""A chart of decoding costs against context depth as an SVG, with one panel per setting."""

import math
from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

import numpy as np

from evaluators.speed.operators.operator_costs import OperatorCost, operator_costs
from evaluators.speed.operators.probe_times import Profile, Setting
from search_space.architecture import MIXERS, LayoutLetter
from search_space.probes import make_probes

_WIDTH, _HEIGHT = 560, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 150, 44, 44
_PANELS_PER_ROW = 2
_LABEL_STEP = 15
# A cost that is linear in the depth is a curve on logarithmic axes.
_POINTS = 60


def draw_profiles(profiles: Sequence[Profile]) -> str:
    """Draw profiles.

    Args:
        profiles: The profiles, at least one. The panel of one without costs says so.

    Returns:
        The text of the SVG file. Both axes are logarithmic.
    """
    columns = min(_PANELS_PER_ROW, len(profiles))
    rows = math.ceil(len(profiles) / columns)
    panels = [
        f'<g transform="translate({_WIDTH * (index % columns)},{_HEIGHT * (index // columns)})">'
        + "".join(_panel(profile))
        + "</g>"
        for index, profile in enumerate(profiles)
    ]
    size = f"{_WIDTH * columns} {_HEIGHT * rows}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" '
        'font-family="system-ui, sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(panels)}</svg>\n'
    )


class _Axes:
    """Maps depths and ratios to coordinates in a panel."""

    def __init__(self, costs: Sequence[OperatorCost]) -> None:
        self.depths = sorted({cost.workload.depth for cost in costs})
        lows = [cost.ratio.value - (cost.ratio.margin or 0) for cost in costs]
        highs = [cost.ratio.value + (cost.ratio.margin or 0) for cost in costs]
        # A logarithmic axis has no zero: values that noise moves there are drawn at its lower end.
        self.low, self.high = max(0.25, min(0.75, *lows)), max(4.5, *highs) * 1.1

    def x(self, depth: float) -> float:
        first, last = math.log(self.depths[0]), math.log(self.depths[-1])
        fraction = (math.log(depth) - first) / (last - first) if last > first else 0.5
        return _LEFT + 10 + fraction * (_WIDTH - _LEFT - _RIGHT - 20)

    def y(self, ratio: float) -> float:
        fraction = math.log(max(ratio, self.low) / self.low) / math.log(self.high / self.low)
        return _HEIGHT - _BOTTOM - fraction * (_HEIGHT - _TOP - _BOTTOM)


def _panel(profile: Profile) -> Iterator[str]:
    setting = profile.setting
    letters = {
        probe.part: probe.letter
        for probe in make_probes(setting.width, setting.layers, setting.kinds)
        if probe.letter is not None
    }
    costs = [
        cost
        for cost in operator_costs(profile)
        if cost.workload.phase == "decode" and cost.part in letters
    ]
    yield _text(_LEFT, 20, _title(setting), weight="bold")
    if not costs:
        yield _text(_LEFT, _TOP + 20, "no cost is known yet")
        return
    axes = _Axes(costs)
    yield from _frame(axes)
    ends: dict[str, float] = {}
    for part, letter in letters.items():
        line = [cost for cost in costs if cost.part == part]
        if line:
            yield from _line(axes, line, MIXERS[letter].line_colour)
            ends[part] = axes.y(line[-1].ratio.value)
    yield from _labels(ends, letters)


def _title(setting: Setting) -> str:
    threads = "1 thread" if setting.threads == 1 else f"{setting.threads} threads"
    return f"Decoding at width {setting.width:,}, {setting.quantization}, {threads}"


def _frame(axes: _Axes) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    upper, lower = axes.y(4), axes.y(3)
    yield (
        f'<rect x="{_LEFT}" y="{upper:.1f}" width="{right - _LEFT}" '
        f'height="{lower - upper:.1f}" fill="#eeeeee"/>'
    )
    yield _text(_LEFT + 6, (upper + lower) / 2 + 4, "3 to 4 times", colour="#888888")
    ticks = (0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)
    for tick in ticks:
        if axes.low <= tick <= axes.high:
            y = axes.y(tick)
            yield _stroke(_LEFT, y, right, y, "#dddddd")
            yield _text(_LEFT - 8, y + 4, f"{tick:g}", anchor="end")
    for depth in axes.depths:
        x = axes.x(depth)
        yield _stroke(x, bottom, x, bottom + 5, "#444444")
        yield _text(x, bottom + 18, f"{depth:,}", anchor="middle")
    yield _stroke(_LEFT, bottom, right, bottom, "#444444")
    yield _text((_LEFT + right) / 2, bottom + 36, "context depth, tokens", anchor="middle")
    yield _text(_LEFT, _TOP - 8, "cost of a layer, in short convolutions", colour="#444444")


def _line(axes: _Axes, line: Sequence[OperatorCost], colour: str) -> Iterator[str]:
    depths = [float(cost.workload.depth) for cost in line]
    ratios = [cost.ratio.value for cost in line]
    between = np.geomspace(depths[0], depths[-1], _POINTS)
    path = " ".join(
        f"{axes.x(depth):.1f},{axes.y(ratio):.1f}"
        for depth, ratio in zip(between, np.interp(between, depths, ratios), strict=True)
    )
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for cost in line:
        x, y = axes.x(cost.workload.depth), axes.y(cost.ratio.value)
        if cost.ratio.low is not None and cost.ratio.high is not None:
            yield _stroke(x, axes.y(cost.ratio.low), x, axes.y(cost.ratio.high), colour)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def _labels(ends: dict[str, float], letters: Mapping[str, LayoutLetter]) -> Iterator[str]:
    """Label the lines at their right ends; labels that would overlap are moved apart."""
    lowest = math.inf
    for part, end in sorted(ends.items(), key=lambda item: -item[1]):
        lowest = min(end, lowest - _LABEL_STEP)
        yield _text(_WIDTH - _RIGHT + 8, lowest + 4, part, colour=MIXERS[letters[part]].line_colour)


def _stroke(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        'stroke-width="1.2"/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    colour: str = "#222222",
    weight: str = "normal",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )
