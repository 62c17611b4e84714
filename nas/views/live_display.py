"""Drawings that follow work in progress, and the lines that replace them without a terminal.

A drawing shows the current state at any moment. Without a terminal, as in a pipe or a CI log, a
`ProgressLine` about the same state is printed when a stage begins, when it waits for another
process, and at least every 15 seconds.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from nas.findings.wording import duration, time_left
from nas.views.terminal import notices

Clock: TypeAlias = Callable[[], float]
"""Returns the present time in seconds; only differences matter."""

_REFRESHES_PER_SECOND = 4
# Without a terminal, no silence is longer than this. A thread checks that once a second.
_LONGEST_SILENCE_S = 15.0
_CHECK_INTERVAL_S = 1.0
# A line states for how long nothing has changed if it is at least this long.
_NOTABLE_S = 10.0
_MOST_OTHERS = 8
_WAITING = re.compile(r"(^|; )(?P<state>waiting|paused)\b")
_NUMBER = re.compile(r"\d[\d,.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressLine:
    """The state of work in progress, to be printed on one line.

    Attributes:
        stage: The subject and the stage, such as "trial 7  training"; empty while the command
            waits.
        is_news: Whether this stage began last, and not another one that has ended since.
        activity: What the stage is doing; empty if nothing has been reported.
        done: The completed fraction of the stage, from 0 to 1; 0 if it is not known.
        stage_seconds_left: The estimated time left of the stage; None if it is not known.
        others: Clauses about stages that began before and have not ended. At most eight are
            printed, and the number of the rest.
        overall: How much of the command's work is done, such as "3 of 40 trials done"; empty if
            that is not known.
        seconds_left: The estimated time left of the command; None if it is not known.
    """

    stage: str
    is_news: bool = True
    activity: str = ""
    done: float = 0.0
    stage_seconds_left: float | None = None
    others: tuple[str, ...] = ()
    overall: str = ""
    seconds_left: float | None = None

    def text(self, unchanged_s: float = 0.0) -> str:
        """Format the line.

        Args:
            unchanged_s: For how many seconds the state has been the same; a short time is left out.
        """
        share = f"{100 * self.done:.0f} %" if self.done >= 0.005 else ""
        state = _joined(share, self.activity)
        now = ": ".join(part for part in (self.stage, state) if part)
        if unchanged_s >= _NOTABLE_S:
            now += f" ({duration(unchanged_s)} so far)"
        here = time_left(self.stage_seconds_left, "of this stage left")
        overall = _joined(self.overall, time_left(self.seconds_left, "left in all"))
        others = self.others[-_MOST_OTHERS:]
        hidden = len(self.others) - len(others)
        more = f"and {hidden:,} more" if hidden else ""
        return "; ".join(part for part in (now, here, *others, more, overall) if part)


def is_waiting(activity: str) -> bool:
    """Return whether a text about an activity states that it waits for something."""
    return _WAITING.search(activity) is not None


class LiveDisplay:
    """Prints lines above a drawing, or in its place where there is no terminal to draw on."""

    def __init__(
        self, console: Console, line: Callable[[], ProgressLine | None], clock: Clock
    ) -> None:
        """Choose what to print.

        Args:
            console: Where to print.
            line: Returns the current state; None if there is nothing to report.
            clock: Measures the time between lines.
        """
        self._console = console
        self._line = line
        self._clock = clock
        self._lock = threading.Lock()
        self._printed: ProgressLine | None = None
        self._printed_at = clock()
        self._state: tuple[str, str, float] | None = None
        self._state_since = clock()

    @property
    def is_drawn(self) -> bool:
        """Whether there is a terminal to draw on."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def print(self, line: str | Text) -> None:
        """Print a line that stays, such as the result of an item."""
        with self._lock:
            self._print(line)

    def print_instead(self, line: str | Text) -> None:
        """Print a line only where nothing is drawn."""
        if not self.is_drawn:
            self.print(line)

    def update(self) -> None:
        """Report a change of the state. It is printed only where nothing is drawn.

        The first line of each stage is printed at once, as is a text about what the stage waits
        for. Other changes are printed 15 seconds after the previous line.
        """
        self._follow(is_change=True)

    def remind(self) -> None:
        """Print the state, unless a line was printed in the last 15 seconds or so."""
        self._follow(is_change=False)

    def _follow(self, *, is_change: bool) -> None:
        if self.is_drawn:
            return
        with self._lock:
            line, now = self._line(), self._clock()
            if line is None:
                return
            state = line.stage, line.activity, line.done
            if state != self._state:
                self._state, self._state_since = state, now
            # The next check would come too late.
            is_due = now - self._printed_at > _LONGEST_SILENCE_S - _CHECK_INTERVAL_S
            if is_due or (is_change and _is_urgent(line, self._printed)):
                self._print(line.text(now - self._state_since))
                self._printed = line

    def _print(self, line: str | Text) -> None:
        self._console.print(line, soft_wrap=not self.is_drawn)
        self._printed_at = self._clock()


@contextmanager
def live_display(
    view: Callable[[], RenderableType],
    line: Callable[[], ProgressLine | None],
    clock: Clock = time.monotonic,
) -> Iterator[LiveDisplay]:
    """Draw a view on standard error while the context lasts, and erase it at the end.

    Without a terminal, lines are printed instead.

    Args:
        view: Returns what to draw. It is called four times per second on a terminal, by another
            thread, and never elsewhere.
        line: Returns the same state as a line; None if there is nothing to report. It is called
            only where there is no terminal: by every `update`, and once per second by another
            thread.
        clock: Measures the time between lines, in seconds.
    """
    console = notices()
    display = LiveDisplay(console, line, clock)
    if not display.is_drawn:
        with _reminding(display):
            yield display
        return
    with Live(
        get_renderable=view,
        console=console,
        refresh_per_second=_REFRESHES_PER_SECOND,
        transient=True,
    ):
        yield display


@contextmanager
def _reminding(display: LiveDisplay) -> Iterator[None]:
    """Let another thread print what lasts long without any change."""
    ended = threading.Event()

    def remind() -> None:
        while not ended.wait(_CHECK_INTERVAL_S):
            display.remind()

    thread = threading.Thread(target=remind, name="progress lines", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _is_urgent(line: ProgressLine, printed: ProgressLine | None) -> bool:
    if not line.is_news:
        return False
    if printed is None or line.stage != printed.stage:
        return True
    wait = _wait(line.activity)
    return wait is not None and wait != _wait(printed.activity)


def _wait(activity: str) -> str | None:
    """Return what an activity waits for, without numbers that change meanwhile; None if nothing."""
    found = _WAITING.search(activity)
    return None if found is None else _NUMBER.sub("", activity[found.start("state") :])


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
