"""Plain-text formats of numbers, counts, lists and scores."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

# Slow to import, and most callers only format numbers.
if TYPE_CHECKING:
    from studies.analysis.study_front import Axis

# Precedes a value that is too uncertain to decide anything.
PROVISIONAL = "~"
# Precedes half the width of a confidence interval.
HALF_WIDTH = "±"

_LEAST_FRACTION = 0.001
_LOPSIDED = 1.2
_WHOLE = 10  # half-widths from here on have no decimals


def number(value: float) -> str:
    """Format a number with four significant digits, or as an integer from 1,000 on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def half_or_ends(value: float, low: float, high: float) -> str:
    """Format an interval as half its width, `±0.020`, or by its ends if it is lopsided.

    It is lopsided if one side is more than a fifth longer than the other: `1.02 to 1.33`.
    """
    below, above = value - low, high - value
    if max(below, above) > _LOPSIDED * max(min(below, above), 0.0):
        return f"{number(low)} to {number(high)}"
    half = (high - low) / 2
    if half >= _WHOLE:
        return f"{HALF_WIDTH}{half:,.0f}"
    return f"{HALF_WIDTH}{half:#.2g}".rstrip(".") if half else f"{HALF_WIDTH}0"


def value_text(value: float, low: float | None, high: float | None) -> str:
    """Format a value with its interval, if it has one: `10.00 ±0.020` or `1.100 (1.020 to 1.330)`.

    See `half_or_ends`.
    """
    if low is None or high is None:
        return number(value)
    interval = half_or_ends(value, low, high)
    return f"{number(value)} {interval if interval.startswith(HALF_WIDTH) else f'({interval})'}"


def marked(text: str, *, is_provisional: bool) -> str:
    """Precede the text of a value by the mark of provisional ones: `~10.00`."""
    return f"{PROVISIONAL}{text}" if is_provisional else text


def counted(count: int, singular: str, plural: str) -> str:
    """Format a count with its noun: `1 candidate`, `2,000 candidates`."""
    return f"{count:,} {singular if count == 1 else plural}"


def trials_of(done: int, total: int) -> str:
    """Format how many of the requested trials are done: `3 of 10 trials`.

    There may be more than requested, because the number may be lowered: `4 trials (2 requested)`.
    """
    return f"{done} of {total} trials" if done <= total else f"{done} trials ({total} requested)"


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


def time_left(seconds: float | None, what: str = "left") -> str:
    """Return a clause such as "about 12 min left"; empty if the time is unknown or has passed."""
    return f"about {duration(seconds)} {what}" if seconds and seconds >= 0.5 else ""


def run_times_text(so_far_s: float | None, left_s: float | None) -> str:
    """Return how long a run has taken and will take, such as "65 s so far, about 12 min left".

    Args:
        so_far_s: The time so far, in seconds; None if it is not known.
        left_s: The estimated time left, in seconds; None if it is not known.
    """
    so_far = "" if so_far_s is None else f"{duration(so_far_s)} so far"
    return ", ".join(clause for clause in (so_far, time_left(left_s)) if clause)


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


def amount(value: float, axis: "Axis") -> str:
    """Format a value of an objective with its unit, unless the unit repeats the name."""
    return number(value) if axis.unit == axis.name else f"{number(value)} {axis.unit}".strip()
