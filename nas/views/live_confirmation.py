"""The live view of a confirmation; a line for each repeat where there is no terminal."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.views.terminal import duration, layout_strip, notices, number
from studies.confirmation.confirmation_run import (
    ConfirmationJob,
    JobEnded,
    JobEvent,
    JobListener,
    JobProgress,
    JobStarted,
)
from studies.records import ConfirmationStage

_REFRESHES_PER_SECOND = 4


@dataclass(slots=True, kw_only=True)
class RemainingWork:
    """The repeats that are left, and what each is expected to take; done_before: the others.

    It learns on the way what those took that have ended.
    """

    study: str
    seconds: Mapping[ConfirmationStage, float]
    done_before: int
    _ended: dict[ConfirmationStage, float] = field(default_factory=dict)

    @property
    def done(self) -> int:
        return self.done_before + len(self._ended)

    @property
    def wanted(self) -> int:
        return self.done_before + len(self.seconds)

    def end(self, repeat: ConfirmationStage, seconds: float) -> None:
        self._ended[repeat] = seconds

    def seconds_left(self) -> float:
        """Stretched by how much longer than expected those took that have ended."""
        left = math.fsum(each for repeat, each in self.seconds.items() if repeat not in self._ended)
        expected = math.fsum(self.seconds.get(repeat, 0.0) for repeat in self._ended)
        taken = math.fsum(self._ended.values())
        return left * taken / expected if expected and taken else left


@contextmanager
def watching(forecast: RemainingWork) -> Iterator[JobListener]:
    """A listener that draws on the terminal, or writes a line when a repeat ends."""
    console = notices()
    progress = _Progress(forecast)
    if not console.is_terminal:

        def write(event: JobEvent) -> None:
            progress.follow(event)
            if isinstance(event, JobEnded):
                console.print(_ending(event), soft_wrap=True)

        yield write
        return

    def follow(event: JobEvent) -> None:
        progress.follow(event)
        if isinstance(event, JobEnded):
            console.print(_ending(event))  # stays above the view

    with Live(
        get_renderable=progress.view,
        console=console,
        refresh_per_second=_REFRESHES_PER_SECOND,
        transient=True,
    ):
        yield follow


class _Progress:
    """What the view shows."""

    def __init__(self, forecast: RemainingWork) -> None:
        self._forecast = forecast
        self._job: ConfirmationJob | None = None
        self._since = time.monotonic()
        self._done = 0.0
        self._text = ""

    def follow(self, event: JobEvent) -> None:
        match event:
            case JobStarted():
                self._job, self._since = event.job, time.monotonic()
                self._done, self._text = 0.0, ""
            case JobProgress():
                self._done, self._text = event.progress.done, event.progress.text
            case JobEnded():
                self._job = None
                self._forecast.end(event.job.repeat, time.monotonic() - self._since)

    def view(self) -> RenderableType:
        forecast, job = self._forecast, self._job
        left = forecast.seconds_left()
        head = Text.assemble(
            (forecast.study, "bold"), f"  {forecast.done} of {forecast.wanted} repeats"
        )
        if job is None:
            return head
        if left:  # nothing is expected of trainings where the study had none
            head.append(f"  about {duration(max(0.0, left - time.monotonic() + self._since))} left")
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            job.evaluator.stage,
            ProgressBar(total=1.0, completed=self._done, width=30),
            f"{self._done:4.0%}",
        )
        return Group(head, _title(job), bar, Text(self._text, style="dim"))


def _ending(event: JobEnded) -> Text:
    """One line: what was repeated, and what came of it."""
    line = _title(event.job)
    if event.reason is not None:
        return line.append(f"  failed, {event.reason}")
    # The first scores of an evaluator are what it is asked for.
    values = [f"{score.name} {number(score.value)} {score.unit}" for score in event.scores[:1]]
    return line.append(f"  {', '.join(values)}")


def _title(job: ConfirmationJob) -> Text:
    assert job.trial.model is not None
    line = Text.assemble((f"{job.trial.title:10} ", "bold"), layout_strip(job.trial.model.layout))
    if job.seed is not None:
        line.append(f"  seed {job.seed}, {job.token_budget:,} tokens")
    return line
