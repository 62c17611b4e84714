"""The live view of a confirmation; without a terminal, lines about its jobs."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from nas.findings.expected_loss_findings import selection_finding
from nas.findings.time_wording import named_score
from nas.findings.wording import counted, duration, time_left
from nas.views.live_display import Clock, LiveDisplay, ProgressLine, live_display
from nas.views.live_rows import LiveRow, LiveRows
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
# The headline.
_OTHER_LINES = 1


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


@dataclass(slots=True, kw_only=True)
class _JobAtWork:
    job: ConfirmationJob
    stage: LiveStage
    since: float
    has_reported: bool = False

    def row(self) -> LiveRow:
        trial = self.job.trial
        return LiveRow(
            title=trial.title,
            model=trial.model,
            label=_training_run(self.job).strip(),  # only trainings are at work at the same time
            stage=self.stage,
        )


class _Progress:
    """What the view shows, collected from the events."""

    def __init__(self, clock: Clock) -> None:
        self.preparation = ""
        self.plan: ConfirmationPlan | None = None
        self._clock = clock
        self._at_work: dict[ConfirmationKey, _JobAtWork] = {}
        self._begun_last: ConfirmationKey | None = None
        # Whether each job that has ended was evaluated, or was a cache hit.
        self._ended: dict[ConfirmationKey, bool] = {}
        self._begun_at: float | None = None
        self._ended_at = 0.0

    def follow(self, event: ConfirmationEvent) -> None:
        now = self._clock()
        match event:
            case ConfirmationPlan():
                self.plan = event
            case JobStarted(job=job):
                stage = LiveStage(job.evaluator.stage, now)
                self._at_work[job.key] = _JobAtWork(job=job, stage=stage, since=now)
                self._begun_last = job.key
                if self._begun_at is None:
                    self._begun_at = self._ended_at = now
            case JobProgress():
                at_work = self._at_work[event.job.key]
                at_work.stage.follow(event.progress, now)
                at_work.has_reported = True
            case JobEnded():
                at_work = self._at_work.pop(event.job.key)
                is_long = now - at_work.since >= _CACHE_HIT_S
                self._ended[event.job.key] = at_work.has_reported or is_long
                self._ended_at = now

    def view(self) -> RenderableType:
        plan, now = self.plan, self._clock()
        if plan is None:
            return Text(self.preparation)
        head = Text.assemble((plan.spec.name, "bold"), f"  {self._overall(plan)}")
        at_work = list(self._at_work.values())
        if not at_work:
            return head
        left = time_left(self._seconds_left(plan))
        head.append(f"  {left}" if left else "")
        if len(at_work) == 1:
            return Group(head, _title(at_work[0].job), *at_work[0].stage.drawn(now))
        rows = [each.row() for each in at_work]
        return Group(head, LiveRows(rows, now, other_lines=_OTHER_LINES))

    def line(self) -> ProgressLine | None:
        """Return the jobs at work as a line; None between two jobs and at the end."""
        plan, at_work = self.plan, list(self._at_work.values())
        if plan is None:
            return preparation_line("", self.preparation) if self.preparation else None
        if not at_work:
            return None
        *others, last = at_work
        stage = last.stage
        return ProgressLine(
            stage=f"{last.job.trial.title}  {stage.name}{_training_run(last.job)}",
            is_news=last.job.key == self._begun_last,
            activity=stage.activity,
            done=stage.done,
            stage_seconds_left=stage.seconds_left(self._clock()),
            others=tuple(each.row().clause() for each in others),
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
        expected_so_far = math.fsum(
            expected.get(stage, 0.0) for stage, is_evaluated in ended.items() if is_evaluated
        )
        if self._begun_at is None:
            return left
        taken = self._ended_at - self._begun_at
        if expected_so_far and taken:
            left *= taken / expected_so_far
        return max(0.0, left - (self._clock() - self._ended_at))


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
    if plan.first:
        plan_line = f"{plan_line}\n{selection_finding(plan.first)}"
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
