"""The type of a callback that receives lines of text about what is being done."""

from collections.abc import Callable
from typing import TypeAlias

Say: TypeAlias = Callable[[str], None]
"""Receives one line about what is being done, such as "encoding the text"."""


def ignore_text(text: str) -> None:
    """Do nothing: the `Say` of work that nobody watches."""
