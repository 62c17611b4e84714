"""Figures as sentences quote them: with their units and their intervals."""

from collections.abc import Sequence

from nas.views.terminal import number
from studies.analysis.summaries import Axis
from studies.records import Trial

_LEAST_SHARE = 0.001


def quoted(trial: Trial, axis: Axis) -> str:
    """`decode 10.1 ms/token (10.0 to 10.2)`; `loss 1.78 bits/byte` where no interval is known."""
    score = next(score for score in trial.scores if score.name == axis.name)
    said = f"{axis.name} {amount(score.value, axis)}"
    if score.low is None or score.high is None:
        return said
    return f"{said} ({number(score.low)} to {number(score.high)})"


def amount(value: float, axis: Axis) -> str:
    return number(value) if axis.unit == axis.name else f"{number(value)} {axis.unit}".strip()


def share(value: float) -> str:
    """`31 %`, `0.4 %`."""
    if 0 < value < _LEAST_SHARE:
        return f"less than {100 * _LEAST_SHARE:g} %"
    return f"{100 * value:.0f} %" if value >= 0.095 or value == 0 else f"{100 * value:.1f} %"


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def counted(count: int, one: str, many: str) -> str:
    """`1 candidate`, `2,000 candidates`."""
    return f"{count:,} {one if count == 1 else many}"


def joined(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
