"""The answers of an agent, checked: a device may send anything."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from hardware.printable_text import printable
from hardware.runner import Window

T = TypeVar("T")

# Above every number of nanoseconds or bytes that a device can mean.
_MOST = 1 << 62
_LONGEST_TEXT = 500


def read_answer(kind: type[T], answer: Any) -> T:
    """Return an answer as a dataclass or a plain type.

    Args:
        kind: The type. Its fields are numbers, texts, or dataclasses, tuples, lists and
            dictionaries of these.
        answer: Plain data, as it was received.

    Returns:
        The value; its texts contain at most 500 printable characters. Unknown fields are left out.

    Raises:
        ValueError: A field is missing or of another type, or a number is not finite, absurdly
            large, or a negative integer.
    """
    try:
        # From JSON, because only there a strict check takes a list for a tuple.
        read = TypeAdapter(kind).validate_json(json.dumps(answer), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or kind.__name__.lstrip("_")
        raise ValueError(f"{field}: {first['msg']}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    checked: T = _checked(read)
    return checked


def read_window(answer: Mapping[str, Any], samples: int, longest_ns: float) -> Window:
    """Return a window of that many samples.

    Args:
        answer: Plain data, as it was received.
        samples: The number of samples that were requested.
        longest_ns: The time that all of them together can have taken.

    Raises:
        ValueError: It contains what no clock can have measured.
    """
    window = read_answer(Window, answer)
    if len(window.samples_ns) != samples or not all(window.samples_ns):
        raise ValueError(f"samples_ns: these are not {samples} samples above 0 ns")
    if sum(window.samples_ns) > longest_ns:
        raise ValueError(
            f"samples_ns: {sum(window.samples_ns):.3g} ns is more than the {longest_ns:.3g} ns "
            "that the request took"
        )
    waits = window.waited_ns
    if waits is not None and (
        len(waits) != samples
        or any(wait > sample for wait, sample in zip(waits, window.samples_ns, strict=True))
    ):
        raise ValueError("waited_ns: a sample waited for longer than it took")
    return window


def _checked(value: Any) -> Any:
    """Return plain data or a dataclass with printable texts; raise ValueError for odd numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        return dataclasses.replace(value, **{name: _checked(each) for name, each in fields.items()})
    if isinstance(value, str):
        return printable(value)[:_LONGEST_TEXT]
    if isinstance(value, tuple | list):
        return type(value)(map(_checked, value))
    if isinstance(value, dict):
        return {_checked(name): _checked(each) for name, each in value.items()}
    if isinstance(value, int | float) and not -_MOST < value < _MOST:  # also for "not a number"
        raise ValueError("a number is absurdly large or not finite")
    if isinstance(value, int) and value < 0:
        raise ValueError(f"{value!r} is below 0")
    return value
