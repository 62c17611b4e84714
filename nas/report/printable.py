"""Documents without control characters, which a viewer of a report might obey."""

from typing import Any, TypeVar, cast

from nas.views.terminal import without_controls

T = TypeVar("T")


def printable(document: T) -> T:
    """Return a document whose texts have a replacement character for each control character.

    A terminal that shows a Markdown file would obey escape sequences from a database.

    Args:
        document: Plain data: dictionaries, lists, texts, numbers and None.
    """
    return cast(T, _printable(document))


def _printable(data: Any) -> Any:
    if isinstance(data, str):
        return without_controls(data)
    if isinstance(data, dict):
        return {without_controls(name): _printable(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_printable(value) for value in data]
    return data
