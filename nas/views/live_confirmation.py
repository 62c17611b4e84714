"""The live view of a confirmation; without a terminal, one line per job that ends."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.findings.wording import counted, duration, number
from nas.views.live_display import LiveDisplay, live_display
from nas.views.terminal import layout_strip
from nas.workflows.front_confirmation import ConfirmationEvent, ConfirmationPlan
from studies.confirmation.confirmation_run import (
    ConfirmationJob,
    JobEnded,
    JobProgress,
    JobStarted,
)
from studies.records import ConfirmationKey


class LiveConfirmation:
    """The listener that updates the view of a confirmation."""

    def __init__(self, progress: "_Progress", display: LiveDisplay) -> None:
        self._progress = progress
        self._display = display

    def __call__(self, event: ConfirmationEvent) -> None:
        """Receive the plan or an event of a job."""
        self._progress.follow(event)
        match event:
            case ConfirmationPlan():
                self._display.print(_plan_text(event))
            case JobEnded():
                self._display.print(_ending(event))
            case _:
                pass

    def say(self, text: str) -> None:
        """Receive what is being prepared before the first event."""
        self._progress.preparation = text

    def notify(self, text: str) -> None:
        """Receive a remark, which is printed."""
        self._display.print(text)


@contextmanager
def live_confirmation() -> Iterator[LiveConfirmation]:
    """Draw a confirmation on a terminal; elsewhere print a line when a job ends."""
    progress = _Progress()
    with live_display(progress.view) as display:
        yield LiveConfirmation(progress, display)


class _Progress:
    """What the view shows, collected from the events."""

    def __init__(self) -> None:
        self.preparation = ""
        self._plan: ConfirmationPlan | None = None
        self._ended: dict[ConfirmationKey, float] = {}
        self._job: ConfirmationJob | None = None
        self._since = time.monotonic()
        self._done = 0.0
        self._text = ""

    def follow(self, event: ConfirmationEvent) -> None:
        match event:
            case ConfirmationPlan():
                self._plan = event
            case JobStarted():
                self._job, self._since = event.job, time.monotonic()
                self._done, self._text = 0.0, ""
            case JobProgress():
                self._done, self._text = event.progress.done, event.progress.text
            case JobEnded():
                self._job = None
                self._ended[event.job.key] = time.monotonic() - self._since

    def view(self) -> RenderableType:
        plan, job = self._plan, self._job
        if plan is None:
            return Text(self.preparation)
        done = plan.done_before + len(self._ended)
        total = plan.done_before + len(plan.seconds_left)
        head = Text.assemble((plan.study, "bold"), f"  {done} of {total} timings and training runs")
        if job is None:
            return head
        left = self._seconds_left(plan)
        if left:  # 0 if nothing is known about retrainings
            head.append(f"  about {duration(max(0.0, left - time.monotonic() + self._since))} left")
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            job.evaluator.stage,
            ProgressBar(total=1.0, completed=self._done, width=30),
            f"{100 * self._done:3.0f} %",
        )
        return Group(head, _title(job), bar, Text(self._text, style="dim"))

    def _seconds_left(self, plan: ConfirmationPlan) -> float:
        """Scale the expected time by how much longer than expected the ended jobs took."""
        ended, expected = dict(self._ended), plan.seconds_left
        left = math.fsum(each for stage, each in expected.items() if stage not in ended)
        expected_so_far = math.fsum(expected.get(stage, 0.0) for stage in ended)
        taken = math.fsum(ended.values())
        return left * taken / expected_so_far if expected_so_far and taken else left


def _plan_text(plan: ConfirmationPlan) -> str:
    members = counted(plan.on_front, "member of the front", "members of the front")
    runners_up = counted(plan.runners_up, "runner-up", "runners-up")
    candidates = f"{members} and {runners_up}" if plan.runners_up else members
    seeds = counted(plan.seeds, "new seed", "new seeds")
    plan_line = (
        f"{plan.study}: {candidates}; each is measured again, retrained with {seeds} on "
        f"{plan.short_tokens:,} tokens, and retrained with another seed on {plan.long_tokens:,} "
        "tokens"
    )
    if not plan.seconds_left:
        return f"{plan_line}\nall {plan.done_before} timings and training runs are done"
    runs = sum(stage.token_budget is not None for stage in plan.seconds_left)
    timings = counted(len(plan.seconds_left) - runs, "timing", "timings")
    about = ""
    if not plan.is_inherited or not runs:
        about = f", about {duration(math.fsum(plan.seconds_left.values()))}"
    done = f"; {plan.done_before} are done" if plan.done_before else ""
    trained = counted(runs, "training run", "training runs")
    return f"{plan_line}\n{timings} and {trained} are left{about}{done}"


def _ending(event: JobEnded) -> Text:
    """Return a line that states what was repeated, and its score or the reason for its failure."""
    line = _title(event.job)
    if event.reason is not None:
        return line.append(f"  failed, {event.reason}")
    # The first score of an evaluator is the one that it is used for.
    values = [f"{score.name} {number(score.value)} {score.unit}" for score in event.scores[:1]]
    return line.append(f"  {', '.join(values)}")


def _title(job: ConfirmationJob) -> Text:
    assert job.trial.model is not None
    line = Text.assemble((f"{job.trial.title:10} ", "bold"), layout_strip(job.trial.model.layout))
    if job.seed is not None:
        line.append(f"  seed {job.seed}, {job.token_budget:,} tokens")
    return line
