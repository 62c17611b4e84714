"""The live view of a running study; without a terminal, one line per trial that ends."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.findings.wording import duration, number
from nas.views.candidates import CandidateTable, Row
from nas.views.live_display import LiveDisplay, live_display
from nas.views.terminal import layout_strip
from studies.analysis.pareto_front import non_dominated
from studies.records import Trial
from studies.search.events import (
    Event,
    StageProgress,
    StageStarted,
    StudyStarted,
    TrialEnded,
    TrialLost,
    TrialStarted,
)
from studies.spec.study_spec import StudySpec
from studies.storage.store import Store

_MOST_FRONT_ROWS = 8
_COUNTED = ("complete", "infeasible", "stopped", "failed")


class LiveStudy:
    """The listener that updates the view of a running study."""

    def __init__(self, progress: "StudyProgress", store: Store, display: LiveDisplay) -> None:
        self._progress = progress
        self._store = store
        self._display = display

    def __call__(self, event: Event) -> None:
        """Receive an event of the search."""
        self._progress.follow(event)
        match event:
            case StudyStarted():
                known = self._store.trials(event.study)
                self._progress.ended = [trial for trial in known if trial.outcome is not None]
                self._display.print_instead(
                    f"{event.study}: {event.ended} of {event.total} trials are done"
                )
            case TrialEnded():
                self._display.print(ending(event.trial, self._progress.spec))
            case _:
                pass

    def say(self, text: str) -> None:
        """Receive what is being prepared before the first event."""
        self._progress.preparation = text

    def notify(self, text: str) -> None:
        """Receive a remark, which is printed."""
        self._display.print(text)


@contextmanager
def live_study(spec: StudySpec, store: Store) -> Iterator[LiveStudy]:
    """Draw a running study on a terminal; elsewhere print a line when a trial ends.

    Args:
        spec: The study.
        store: The study's database, from which the trials of earlier runs are read.
    """
    progress = StudyProgress(spec)
    with live_display(lambda: study_view(progress, time.monotonic())) as display:
        yield LiveStudy(progress, store, display)


class StudyProgress:
    """What the view shows, collected from the events of the search.

    Attributes:
        spec: The study.
        preparation: What is being prepared; empty once the search has started.
        total: Number of candidates that the run was asked for.
        ended_before: Number of candidates that had ended before this run.
        ended: The candidates that have ended, in this run or before.
        current: The trial that is being evaluated.
        stage: The stage of the current trial.
        done: The fraction of the stage that is done, from 0 to 1.
        text: What the stage is doing.
        started_at: When the run started, on the monotonic clock in seconds, as are the following.
        candidates_from: When the first candidate of this run started.
        candidate_ended_at: When a candidate last ended.
    """

    def __init__(self, spec: StudySpec) -> None:
        self.spec = spec
        self.preparation = ""
        self.total = spec.trials
        self.ended_before = 0
        self.ended: list[Trial] = []
        self.current: Trial | None = None
        self.stage = ""
        self.done = 0.0
        self.text = ""
        self.started_at = time.monotonic()
        self.candidates_from: float | None = None
        self.candidate_ended_at: float | None = None

    def follow(self, event: Event) -> None:
        """Update the progress with an event."""
        match event:
            case StudyStarted():
                self.preparation = ""
                self.total, self.ended_before = event.total, event.ended
            case TrialStarted():
                self.current, self.stage, self.done, self.text = event.trial, "", 0.0, ""
                if event.trial.kind == "candidate" and self.candidates_from is None:
                    self.candidates_from = time.monotonic()
            case StageStarted():
                self.stage, self.done, self.text = event.stage, 0.0, ""
            case StageProgress():
                self.done, self.text = event.progress.done, event.progress.text
            case TrialEnded():
                self.current = None
                if event.trial.kind == "candidate":
                    self.ended.append(event.trial)
                    self.candidate_ended_at = time.monotonic()
            case TrialLost():
                self.current = None
            case _:
                pass

    def seconds_left(self, now: float) -> float | None:
        """Estimate the remaining time from the mean time per candidate in this run.

        Args:
            now: The present time on the monotonic clock, in seconds.

        Returns:
            Seconds, or None until this run has ended its first candidate.
        """
        ended_here = len(self.ended) - self.ended_before
        if ended_here < 1 or self.candidates_from is None or self.candidate_ended_at is None:
            return None
        mean = (self.candidate_ended_at - self.candidates_from) / ended_here
        left = mean * (self.total - len(self.ended))
        return max(0.0, left - (now - self.candidate_ended_at))


def study_view(progress: StudyProgress, now: float) -> RenderableType:
    """Return a view of the study's progress, its current trial and its front so far.

    Args:
        progress: What has happened.
        now: The present time on the monotonic clock, in seconds.
    """
    if progress.preparation:
        return Text.assemble((progress.spec.name, "bold"), f"  {progress.preparation}")
    return Group(_headline(progress, now), *_current(progress), _front(progress))


def ending(trial: Trial, spec: StudySpec) -> Text:
    """Return a line that states how a trial ended, with its objectives or the reason."""
    assert trial.outcome is not None
    line = Text.assemble(f"{trial.title:14} ", (f"{trial.outcome.state:10} ", "bold"))
    if trial.model is not None:
        line.append_text(layout_strip(trial.model.layout))
    values = [
        f"{score.name} {number(score.value)} {score.unit}"
        for objective in spec.objectives
        for score in trial.scores
        if score.name == objective.name
    ]
    line.append("  " + ", ".join(values))
    if trial.outcome.reason is not None:
        line.append(f"; {trial.outcome.reason}")
    if trial.duplicate_of is not None:
        line.append(f" (duplicate of trial {trial.duplicate_of})")
    return line


def _headline(progress: StudyProgress, now: float) -> Text:
    states = [trial.state for trial in progress.ended]
    counts = [f"{states.count(state)} {state}" for state in _COUNTED if state in states]
    left = progress.seconds_left(now)
    return Text.assemble(
        (progress.spec.name, "bold"),
        f"  {len(progress.ended)} of {progress.total} trials",
        f" ({', '.join(counts)})" if counts else "",
        f"  {duration(now - progress.started_at)} so far",
        f", about {duration(left)} left" if left else "",
    )


def _current(progress: StudyProgress) -> list[RenderableType]:
    trial = progress.current
    if trial is None:
        all_ended = len(progress.ended) >= progress.total
        return [] if all_ended else [Text("proposing the next candidate")]
    kind = "" if trial.reference is None else "reference "
    line = Text.assemble((f"{kind}{trial.title}  ", "bold"))
    if trial.model is not None:
        line.append_text(layout_strip(trial.model.layout))
        line.append(f"  {trial.model.parameters / 1e6:,.1f} million parameters")
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        f"{progress.stage or 'starting'}",
        ProgressBar(total=1.0, completed=progress.done, width=30),
        f"{100 * progress.done:3.0f} %",
    )
    return [line, bar, Text(progress.text, style="dim")]


def _front(progress: StudyProgress) -> RenderableType:
    names = [objective.name for objective in progress.spec.objectives]
    complete = [
        trial
        for trial in progress.ended
        if trial.state == "complete" and trial.duplicate_of is None
    ]
    if not complete:
        return Text("no candidate is complete yet", style="dim")
    values = [[trial.values[name] for name in names] for trial in complete]
    members = [complete[index] for index in non_dominated(values)]
    units = {score.name: score.unit for score in complete[0].scores}
    ordered = sorted(members, key=lambda trial: trial.values[names[0]])
    grid = CandidateTable(
        names=("front",),
        figures=tuple(f"{name}\n{units[name]}" for name in names),
        rows=tuple(_row(trial, names) for trial in ordered[:_MOST_FRONT_ROWS]),
    )
    hidden = len(ordered) - _MOST_FRONT_ROWS
    return Group(grid, Text(f"and {hidden} more", style="dim")) if hidden > 0 else grid


def _row(trial: Trial, names: Sequence[str]) -> Row:
    assert trial.model is not None
    return Row(
        names=(f"trial {trial.number}",),
        model=trial.model,
        figures=tuple(number(trial.values[name]) for name in names),
    )
