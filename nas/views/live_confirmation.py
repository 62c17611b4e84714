"""The live view of a confirmation; without a terminal, lines about its jobs."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.text import Text

from nas.findings.time_wording import named_score
from nas.findings.wording import counted, duration
from nas.views.live_display import Clock, LiveDisplay, ProgressLine, live_display, time_left
from nas.views.live_stage import LiveStage, PreparationListener, preparation_line
from nas.views.terminal import layout_strip
from nas.workflows.front_confirmation import ConfirmationEvent, ConfirmationPlan
from studies.confirmation.confirmation_run import (
    ConfirmationJob,
    JobEnded,
    JobProgress,
    JobStarted,
)
from studies.records import ConfirmationKey
from studies.spec.study_spec import StudySpec

# A job that ends sooner and reports no progress was a cache hit.
_CACHE_HIT_S = 1.0


class LiveConfirmation(PreparationListener):
    """The listener that updates the view of a confirmation."""

    def __init__(self, progress: "_Progress", display: LiveDisplay) -> None:
        super().__init__(progress, display)
        self._progress = progress

    def __call__(self, event: ConfirmationEvent) -> None:
        """Receive the plan or an event of a job."""
        self._progress.follow(event)
        match event:
            case ConfirmationPlan():
                self._display.print(_plan_text(event))
            case JobStarted() | JobProgress():
                self._display.update()
            case JobEnded():
                assert self._progress.plan is not None, "the plan is the first event"
                self.print_result(_ending(event, self._progress.plan.spec))


@contextmanager
def live_confirmation(clock: Clock = time.monotonic) -> Iterator[LiveConfirmation]:
    """Draw a confirmation on a terminal; elsewhere print lines about its jobs.

    Args:
        clock: Measures the time of the jobs and that between lines, in seconds.
    """
    progress = _Progress(clock)
    with live_display(progress.view, progress.line, clock) as display:
        yield LiveConfirmation(progress, display)


class _Progress:
    """What the view shows, collected from the events."""

    def __init__(self, clock: Clock) -> None:
        self.preparation = ""
        self.plan: ConfirmationPlan | None = None
        self._clock = clock
        # The seconds that each ended job took; None for a cache hit.
        self._ended: dict[ConfirmationKey, float | None] = {}
        self._has_reported = False
        self._job: ConfirmationJob | None = None
        self._since = clock()
        self._stage = LiveStage("", self._since)

    def follow(self, event: ConfirmationEvent) -> None:
        now = self._clock()
        match event:
            case ConfirmationPlan():
                self.plan = event
            case JobStarted():
                self._stage = LiveStage(event.job.evaluator.stage, now)
                self._job, self._since, self._has_reported = event.job, now, False
            case JobProgress():
                self._stage.follow(event.progress, now)
                self._has_reported = True
            case JobEnded():
                self._job = None
                seconds = now - self._since
                is_evaluated = self._has_reported or seconds >= _CACHE_HIT_S
                self._ended[event.job.key] = seconds if is_evaluated else None

    def view(self) -> RenderableType:
        plan, job = self.plan, self._job
        if plan is None:
            return Text(self.preparation)
        head = Text.assemble((plan.spec.name, "bold"), f"  {self._overall(plan)}")
        if job is None:
            return head
        left = time_left(self._seconds_left(plan))
        head.append(f"  {left}" if left else "")
        return Group(head, _title(job), *self._stage.drawn(self._clock()))

    def line(self) -> ProgressLine | None:
        """Return the current job as a line; None between two jobs and at the end."""
        plan, job, stage = self.plan, self._job, self._stage
        if plan is None:
            return preparation_line("", self.preparation) if self.preparation else None
        if job is None:
            return None
        return ProgressLine(
            stage=f"{job.trial.title}  {stage.name}{_training_run(job)}",
            activity=stage.activity,
            done=stage.done,
            stage_seconds_left=stage.seconds_left(self._clock()),
            overall=f"{self._overall(plan)} done",
            seconds_left=self._seconds_left(plan),
        )

    def _overall(self, plan: ConfirmationPlan) -> str:
        done = plan.done_before + len(self._ended)
        total = plan.done_before + len(plan.seconds_left)
        return f"{done} of {total} timings and training runs"

    def _seconds_left(self, plan: ConfirmationPlan) -> float:
        """Scale the expected time by how much longer than expected the ended jobs took.

        It is 0 if nothing is known about retrainings. Cache hits do not count.
        """
        ended, expected = dict(self._ended), plan.seconds_left
        left = math.fsum(each for stage, each in expected.items() if stage not in ended)
        known = {stage: seconds for stage, seconds in ended.items() if seconds is not None}
        expected_so_far = math.fsum(expected.get(stage, 0.0) for stage in known)
        taken = math.fsum(known.values())
        if expected_so_far and taken:
            left *= taken / expected_so_far
        return max(0.0, left - (self._clock() - self._since))


def _plan_text(plan: ConfirmationPlan) -> str:
    proxy = plan.spec.proxy
    members = counted(plan.on_front, "member of the front", "members of the front")
    runners_up = counted(plan.runners_up, "runner-up", "runners-up")
    candidates = f"{members} and {runners_up}" if plan.runners_up else members
    seeds = counted(plan.seeds, "new seed", "new seeds")
    plan_line = (
        f"{plan.spec.name}: {candidates}; each is measured again, retrained with {seeds} on "
        f"{proxy.token_budget:,} tokens, and retrained with another seed on {plan.long_tokens:,} "
        "tokens"
    )
    if not plan.seconds_left:
        return f"{plan_line}\nall {plan.done_before} timings and training runs are done"
    runs = sum(stage.token_budget is not None for stage in plan.seconds_left)
    timings = counted(len(plan.seconds_left) - runs, "timing", "timings")
    about = ""
    if proxy.method == "scratch" or not runs:
        about = f", about {duration(math.fsum(plan.seconds_left.values()))}"
    done = f"; {plan.done_before} are done" if plan.done_before else ""
    trained = counted(runs, "training run", "training runs")
    return f"{plan_line}\n{timings} and {trained} are left{about}{done}"


def _ending(event: JobEnded, spec: StudySpec) -> Text:
    """Return a line that states what was repeated, and its score or the reason for its failure."""
    line = _title(event.job)
    if event.reason is not None:
        return line.append(f"  failed, {event.reason}")
    # The first score of an evaluator is the one that it is used for.
    values = [named_score(spec, each) for each in event.scores[:1]]
    return line.append(f"  {', '.join(values)}")


def _title(job: ConfirmationJob) -> Text:
    assert job.trial.model is not None
    line = Text.assemble((f"{job.trial.title:10} ", "bold"), layout_strip(job.trial.model.layout))
    return line.append(_training_run(job))


def _training_run(job: ConfirmationJob) -> str:
    """Return the seed and the tokens of a retraining; nothing for a timing."""
    return "" if job.seed is None else f"  seed {job.seed}, {job.token_budget:,} tokens"
