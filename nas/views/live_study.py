"""The live view of a running study; a line for each trial where there is no terminal to draw on."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.views.candidates import CandidateTable, Row
from nas.views.terminal import duration, layout_strip, notices, number
from studies.analysis.pareto_front import front
from studies.records import Trial
from studies.search.events import (
    Event,
    Listener,
    StageProgress,
    StageStarted,
    StudyStarted,
    TrialEnded,
    TrialLost,
    TrialStarted,
)
from studies.spec.study_spec import StudySpec
from studies.storage.store import Store

_REFRESHES_PER_SECOND = 4
_MOST_FRONT_ROWS = 8
_COUNTED = ("complete", "infeasible", "stopped", "failed")


@contextmanager
def watching(spec: StudySpec, store: Store) -> Iterator[Listener]:
    """A listener that draws the study on the terminal, or writes a line when a trial ends."""
    console = notices()
    progress = StudyProgress(spec)
    if not console.is_terminal:

        def write(event: Event) -> None:
            _follow(progress, event, store)
            if isinstance(event, StudyStarted):
                console.print(f"{event.study}: {event.ended} of {event.wanted} trials are done")
            if isinstance(event, TrialEnded):
                console.print(ending(event.trial, spec), soft_wrap=True)

        yield write
        return

    def follow(event: Event) -> None:
        _follow(progress, event, store)
        if isinstance(event, TrialEnded):
            console.print(ending(event.trial, spec))  # stays above the view

    with Live(
        get_renderable=lambda: study_view(progress, time.monotonic()),
        console=console,
        refresh_per_second=_REFRESHES_PER_SECOND,
        transient=True,
    ):
        yield follow


class StudyProgress:
    """What has happened so far, as far as the view shows it."""

    def __init__(self, spec: StudySpec) -> None:
        self.spec = spec
        self.wanted = spec.trials
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
        match event:
            case StudyStarted():
                self.wanted, self.ended_before = event.wanted, event.ended
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
        """From the mean time of the candidates that this run has ended; None before the first."""
        ended_here = len(self.ended) - self.ended_before
        if ended_here < 1 or self.candidates_from is None or self.candidate_ended_at is None:
            return None
        mean = (self.candidate_ended_at - self.candidates_from) / ended_here
        left = mean * (self.wanted - len(self.ended))
        return max(0.0, left - (now - self.candidate_ended_at))


def study_view(progress: StudyProgress, now: float) -> RenderableType:
    """How far the study is, the trial in hand, and the front so far."""
    return Group(_headline(progress, now), *_current(progress), _front(progress))


def ending(trial: Trial, spec: StudySpec) -> Text:
    """One line: how a trial ended, with its objectives or its reason."""
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
        line.append(f" (the same as trial {trial.duplicate_of})")
    return line


def _follow(progress: StudyProgress, event: Event, store: Store) -> None:
    progress.follow(event)
    if isinstance(event, StudyStarted):
        known = store.trials(event.study)
        progress.ended = [trial for trial in known if trial.outcome is not None]


def _headline(progress: StudyProgress, now: float) -> Text:
    states = [trial.state for trial in progress.ended]
    counts = [f"{states.count(state)} {state}" for state in _COUNTED if state in states]
    left = progress.seconds_left(now)
    return Text.assemble(
        (progress.spec.name, "bold"),
        f"  {len(progress.ended)} of {progress.wanted} trials",
        f" ({', '.join(counts)})" if counts else "",
        f"  {duration(now - progress.started_at)} so far",
        f", about {duration(left)} left" if left else "",
    )


def _current(progress: StudyProgress) -> list[RenderableType]:
    trial = progress.current
    if trial is None:
        all_ended = len(progress.ended) >= progress.wanted
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
        f"{progress.done:4.0%}",
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
    members = [complete[index] for index in front(values)]
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
