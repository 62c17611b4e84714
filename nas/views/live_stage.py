"""The live view of a stage: its activity, its completed fraction and its time left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from evaluators.evaluator import Progress, Report, text_reporter
from hardware.progress import Say
from nas.findings.time_wording import FIRST_MARK_LEGEND
from nas.findings.wording import HALF_WIDTH, PROVISIONAL, time_left
from nas.views.live_display import (
    Clock,
    LiveDisplay,
    ProgressLine,
    is_waiting,
    live_display,
)
from nas.views.terminal import HALF_WIDTH_LEGEND

# The time left is estimated once this fraction of a stage has been completed.
_LEAST_DONE = 0.02


class LiveStage:
    """A running stage, which follows what an evaluator reports.

    Attributes:
        name: The name of the stage.
        activity: What it is doing; empty before the first report.
        done: The completed fraction, from 0 to 1.
    """

    def __init__(self, name: str, now: float) -> None:
        """Begin a stage.

        Args:
            name: The name of the stage.
            now: The present time in seconds, on the clock of all other methods.
        """
        self.name = name
        self.activity = ""
        self.done = 0.0
        # The time left is estimated from the work between these two moments.
        self._begun_at = self._advanced_at = now
        self._begun_with = 0.0
        self._waiting_since: float | None = None

    def follow(self, progress: Progress, now: float) -> None:
        """Receive a report.

        Args:
            progress: What the evaluator reported.
            now: The present time in seconds.
        """
        if self._waiting_since is not None:  # a pause does not slow the work itself
            self._begun_at += now - self._waiting_since
        self._waiting_since = now if is_waiting(progress.text) else None
        # Preparation reports 0, and an evaluator that repeats its work reports less than before.
        if progress.done <= 0 or progress.done < self.done:
            self._begun_at, self._begun_with = now, progress.done
        if progress.done > self.done:
            self._advanced_at = now
        self.done, self.activity = progress.done, progress.text

    def skip(self, seconds: float) -> None:
        """Do not count a time in which the stage was paused.

        Args:
            seconds: The time, which has just ended.
        """
        self._begun_at += seconds
        self._advanced_at += seconds

    def seconds_left(self, now: float) -> float | None:
        """Estimate the time left from the rate so far.

        Args:
            now: The present time in seconds.

        Returns:
            Seconds, or None while too little has been completed or the stage is waiting.
        """
        completed = self.done - self._begun_with
        if completed < _LEAST_DONE or self._waiting_since is not None:
            return None
        seconds = (self._advanced_at - self._begun_at) / completed * (1.0 - self.done)
        return max(0.0, seconds - (now - self._advanced_at))

    def drawn(self, now: float) -> tuple[RenderableType, RenderableType]:
        """Return a progress bar with the time left, and the activity.

        Args:
            now: The present time in seconds.
        """
        bar = Table.grid(padding=(0, 1))
        bar.add_row(self.name, *self.cells(now, width=30))
        return bar, Text(self.activity, style="dim")

    def cells(
        self, now: float, width: int = 10, *, is_paused: bool = False
    ) -> tuple[RenderableType, ...]:
        """Return a progress bar, the percentage and the time left, as cells of a row.

        Args:
            now: The present time in seconds.
            width: The width of the bar.
            is_paused: Whether the stage waits for a measurement.
        """
        return (
            ProgressBar(total=1.0, completed=self.done, width=width),
            f"{100 * self.done:3.0f} %",
            "paused" if is_paused else time_left(self.seconds_left(now)),
        )


class Prepared(Protocol):
    """The state of a command that prepares its work before the first event.

    Attributes:
        preparation: What is being prepared; empty once the work has started.
    """

    preparation: str


class PreparationListener:
    """Receives what precedes the events of a command, and remarks to its user."""

    def __init__(self, prepared: Prepared, display: LiveDisplay) -> None:
        self._prepared = prepared
        self._display = display
        self._explained: set[str] = set()

    def say(self, text: str) -> None:
        """Receive what is being prepared before the first event."""
        self._prepared.preparation = text
        self._display.update()

    def notify(self, text: str) -> None:
        """Receive a remark, which is printed."""
        self._display.print(text)

    def print_result(self, line: Text) -> None:
        """Print the line of a result; after the first mark or interval, also what it means."""
        self._display.print(line)
        legends = {PROVISIONAL: FIRST_MARK_LEGEND, HALF_WIDTH: HALF_WIDTH_LEGEND}
        for sign, legend in legends.items():
            if sign in line.plain and sign not in self._explained:
                self._explained.add(sign)
                self._display.print(legend)


def preparation_line(study: str, preparation: str) -> ProgressLine:
    """Return what is being prepared for a study, as a line.

    Args:
        study: The name of the study; empty if it is not known yet.
        preparation: The text, such as "reading the corpus: file 3 of 12".
    """
    topic, activity = _topic_and_activity(preparation)
    return ProgressLine(stage=f"{study}  {topic}" if study else topic, activity=activity)


@contextmanager
def live_progress(*, at_once: bool = True, clock: Clock = time.monotonic) -> Iterator[Report]:
    """Show the latest progress next to a spinner; without a terminal, print it as lines.

    A text up to its first colon names a stage: "training the proxy: 1,024 tokens".

    Args:
        at_once: Whether the first line of each stage is printed at once. A command that is usually
            fast prints nothing without a terminal unless it takes 15 seconds.
        clock: Measures the time between lines and that of the stages, in seconds.
    """
    stage = LiveStage("", clock())
    spinner = Spinner("dots", style="status.spinner")

    def line() -> ProgressLine | None:
        current = stage  # the other thread may begin another one meanwhile
        if not current.name:
            return None
        return ProgressLine(
            stage=current.name,
            activity=current.activity,
            done=current.done,
            stage_seconds_left=current.seconds_left(clock()),
        )

    def view() -> Spinner:
        current = line()
        spinner.update(text=Text("" if current is None else current.text()))
        return spinner

    with live_display(view, line, clock) as display:

        def report(progress: Progress) -> None:
            nonlocal stage
            topic, activity = _topic_and_activity(progress.text)
            if topic != stage.name:
                stage = LiveStage(topic, clock())
            stage.follow(Progress(done=progress.done, text=activity), clock())
            if at_once:
                display.update()
            else:
                display.remind()

        yield report


@contextmanager
def live_text(*, at_once: bool = True, clock: Clock = time.monotonic) -> Iterator[Say]:
    """Show the latest text as `live_progress` does.

    Args:
        at_once: See `live_progress`.
        clock: See `live_progress`.
    """
    with live_progress(at_once=at_once, clock=clock) as report:
        yield text_reporter(report)


def _topic_and_activity(text: str) -> tuple[str, str]:
    """Split a text such as "reading the corpus: file 3 of 12" at its first colon."""
    topic, _, activity = text.partition(": ")
    return topic, activity
