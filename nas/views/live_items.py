"""The live view of work on a list of items, and the estimate of its remaining time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.spinner import Spinner
from rich.text import Text

from nas.views.live_display import Clock, ProgressLine, live_display
from nas.workflows.work_progress import WorkListener, WorkProgress


class ItemTimes:
    """The time left of a list of items, from the mean time of those that have been finished.

    Attributes:
        latest: The latest progress; None before the first.
    """

    def __init__(self, expected_seconds: float, clock: Clock) -> None:
        """Start the clock.

        Args:
            expected_seconds: The expected time of an item, which counts until the first one has
                been finished.
            clock: Measures the time of the items, in seconds.
        """
        self.latest: WorkProgress | None = None
        self._expected_seconds = expected_seconds
        self._clock = clock
        self._begun_at = self._advanced_at = clock()
        self._finished = 0

    def follow(self, progress: WorkProgress) -> None:
        """Receive the progress of the work."""
        if self.latest is None:  # earlier runs may have finished some
            self._begun_at = self._advanced_at = self._clock()
        elif progress.done > self.latest.done:
            self._finished += progress.done - self.latest.done
            self._advanced_at = self._clock()
        self.latest = progress

    def seconds_left(self) -> float | None:
        """Estimate the time left, in seconds; None before the first progress."""
        latest = self.latest
        if latest is None:
            return None
        seconds_each = self._expected_seconds
        if self._finished:
            seconds_each = (self._advanced_at - self._begun_at) / self._finished
        left = seconds_each * (latest.total - latest.done - latest.effortless)
        return max(0.0, left - (self._clock() - self._advanced_at))


@contextmanager
def live_items(
    what: str, expected_seconds: float, clock: Clock = time.monotonic
) -> Iterator[WorkListener]:
    """Show the item that is being worked on; without a terminal, print the progress as lines.

    Args:
        what: What the items are, in the plural, such as "models".
        expected_seconds: The expected time of an item, in seconds.
        clock: Measures the time between lines and that of the items, in seconds.
    """
    times = ItemTimes(expected_seconds, clock)
    spinner = Spinner("dots", style="status.spinner")

    def line() -> ProgressLine | None:
        latest = times.latest
        if latest is None:
            return None
        return ProgressLine(
            stage=latest.subject,
            activity=latest.text,
            overall=f"{latest.done} of {latest.total} {what} done",
            seconds_left=times.seconds_left(),
        )

    def view() -> Spinner:
        current = line()
        spinner.update(text=Text("" if current is None else current.text()))
        return spinner

    with live_display(view, line, clock) as display:

        def listen(progress: WorkProgress) -> None:
            times.follow(progress)
            display.update()

        yield listen
