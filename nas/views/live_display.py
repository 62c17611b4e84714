"""Drawings that follow work in progress, and the lines that replace them without a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from hardware.progress import Say
from nas.views.terminal import notices
from nas.workflows.work_progress import WorkListener, WorkProgress

_REFRESHES_PER_SECOND = 4


class LiveDisplay:
    """Prints lines above a drawing, or in its place where there is no terminal to draw on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started: set[str] = set()

    @property
    def is_drawn(self) -> bool:
        """Whether there is a terminal to draw on."""
        return self._console.is_terminal

    def print(self, line: str | Text) -> None:
        """Print a line that stays, such as the result of an item."""
        self._console.print(line, soft_wrap=not self.is_drawn)

    def print_instead(self, line: str | Text) -> None:
        """Print a line only where nothing is drawn."""
        if not self.is_drawn:
            self.print(line)

    def print_start(self, subject: str, line: str) -> None:
        """Print the first line about each subject, only where nothing is drawn."""
        if subject not in self._started:
            self._started.add(subject)
            self.print_instead(line)


@contextmanager
def live_display(view: Callable[[], RenderableType]) -> Iterator[LiveDisplay]:
    """Draw a view on standard error while the context lasts, and erase it at the end.

    Args:
        view: Returns what to draw. It is called four times per second on a terminal, by another
            thread, and never elsewhere.
    """
    console = notices()
    display = LiveDisplay(console)
    if not display.is_drawn:
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
def live_text() -> Iterator[Say]:
    """Show the latest text next to a spinner; show nothing where there is no terminal."""
    spinner = Spinner("dots", style="status.spinner")
    with live_display(lambda: spinner):
        yield lambda text: spinner.update(text=Text(text))


@contextmanager
def live_items() -> Iterator[WorkListener]:
    """Show the item that is being worked on; print one line per item without a terminal."""
    spinner = Spinner("dots", style="status.spinner")
    with live_display(lambda: spinner) as display:

        def listen(progress: WorkProgress) -> None:
            line = f"{progress.subject}: {progress.text}"
            spinner.update(text=Text(f"{progress.done} of {progress.total} done, {line}"))
            display.print_start(progress.subject, line)

        yield listen
