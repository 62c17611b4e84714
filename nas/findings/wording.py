"""Plain-text formats of numbers, counts, lists and scores."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

# Slow to import, and most callers only format numbers.
if TYPE_CHECKING:
    from studies.analysis.summaries import Axis
    from studies.records import Trial

_LEAST_FRACTION = 0.001


def number(value: float) -> str:
    """Format a number with four significant digits, or as an integer from 1,000 on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def counted(count: int, singular: str, plural: str) -> str:
    """Format a count with its noun: `1 candidate`, `2,000 candidates`."""
    return f"{count:,} {singular if count == 1 else plural}"


def percent(fraction: float) -> str:
    """Format a fraction as a percentage: `31 %`, `0.4 %`."""
    if 0 < fraction < _LEAST_FRACTION:
        return f"less than {100 * _LEAST_FRACTION:g} %"
    is_whole = fraction >= 0.095 or fraction == 0
    return f"{100 * fraction:.0f} %" if is_whole else f"{100 * fraction:.1f} %"


def duration(seconds: float) -> str:
    """Format a time in seconds: `43 s`, `12 min`, `3 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def megabytes(count: int) -> str:
    """Format a number of bytes in megabytes (1e6 bytes), without the unit."""
    return f"{count / 1e6:,.1f}"


def file_size(count: int) -> str:
    """Format a number of bytes with its unit: `7 kB`, `1.3 MB`."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def joined(parts: Sequence[str]) -> str:
    """Join parts as a list in a sentence: `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def sentence(text: str) -> str:
    """Capitalise the first letter and add a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def quoted(trial: "Trial", axis: "Axis") -> str:
    """Format a score with its interval, if it has one: `decode 10.1 ms/token (10.0 to 10.2)`."""
    score = next(score for score in trial.scores if score.name == axis.name)
    value = f"{axis.name} {amount(score.value, axis)}"
    if score.low is None or score.high is None:
        return value
    return f"{value} ({number(score.low)} to {number(score.high)})"


def amount(value: float, axis: "Axis") -> str:
    """Format a value of an objective with its unit, unless the unit repeats the name."""
    return number(value) if axis.unit == axis.name else f"{number(value)} {axis.unit}".strip()
