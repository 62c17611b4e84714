"""The progress of a workflow that works through a list of items."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkProgress:
    """What a workflow is doing now.

    Attributes:
        subject: The item that is being worked on, such as a model; empty if the work waits.
        text: What is being done with it, such as "loading".
        done: Number of finished items.
        total: Number of all items, including those that were finished by an earlier run.
        effortless: Number of unfinished items that need no time of their own, such as a reference
            model, which is timed interleaved with the others.
    """

    subject: str
    text: str
    done: int
    total: int
    effortless: int = 0


WorkListener: TypeAlias = Callable[[WorkProgress], None]
"""Receives the progress, whenever it changes."""
