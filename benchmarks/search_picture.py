"""Draw the hypervolume of simulated searches against their trials."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from chart import Axis, Chart
from search_statistics import Curves, MedianEstimate, median_of

# Okabe and Ito's colours, which can be distinguished with any colour vision.
_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def picture(curves: Curves) -> str:
    """Return a chart of the medians over the seeds, with their 95 % intervals, as an SVG.

    The samplers are in the order of their final medians.
    """
    order = sorted(curves, key=lambda name: -float(np.median(curves[name][:, -1])))
    trials = range(1, curves[order[0]].shape[1] + 1)
    chart = Chart(
        x_axis=Axis(values=[0, len(trials)], label="trials", digits=0),
        y_axis=Axis(values=[0.0, 1.0], label="fraction of the best known hypervolume"),
    )
    colours = dict(zip(order, cycle(_COLOURS), strict=False))
    marks = []
    for name, colour in colours.items():
        estimates = [median_of(curves[name][:, trial - 1]) for trial in trials]
        marks += _curve(chart, trials, estimates, colour)
    seeds = len(curves[order[0]])
    return chart.svg(marks, colours, f"{seeds} seeds, 95 %")


def _curve(
    chart: Chart, trials: Sequence[int], estimates: Sequence[MedianEstimate], colour: str
) -> tuple[str, str]:
    """Return the band of the intervals and the line of the medians."""
    low, middle, high = (
        [f"{chart.x(trial)},{chart.y(value)}" for trial, value in zip(trials, values, strict=True)]
        for values in (
            [each.low for each in estimates],
            [each.median for each in estimates],
            [each.high for each in estimates],
        )
    )
    return (
        f'<polygon points="{" ".join([*low, *reversed(high)])}" fill="{colour}" opacity="0.15"/>',
        f'<polyline points="{" ".join(middle)}" fill="none" stroke="{colour}" stroke-width="2"/>',
    )
