"""The live view of a running study; without a terminal, lines about its stages and trials."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.text import Text

from evaluators.evaluator import Score
from evaluators.scores import is_timed
from nas.findings.time_wording import named_score, score_number
from nas.findings.wording import run_times_text, trials_of
from nas.views.candidates import CandidateTable, Row
from nas.views.live_display import Clock, LiveDisplay, ProgressLine, live_display
from nas.views.live_rows import LiveRow, LiveRows, more_line
from nas.views.live_stage import LiveStage, PreparationListener, preparation_line
from nas.views.study_progress import StudyProgress
from nas.views.terminal import layout_strip
from studies.analysis.pareto_front import non_dominated
from studies.records import Trial
from studies.search.events import (
    Event,
    Remark,
    StageProgress,
    StageStarted,
    StudyStarted,
    TrialEnded,
    TrialRemeasured,
)
from studies.spec.study_spec import StudySpec
from studies.storage.store import Store

_MOST_FRONT_ROWS = 8
# The headline, the activity, and the front with two lines of names and one about the rest of it.
_OTHER_LINES = 1 + 1 + (_MOST_FRONT_ROWS + 2) + 1
_COUNTED = ("complete", "infeasible", "stopped", "failed")


class LiveStudy(PreparationListener):
    """The listener that updates the view of a running study."""

    def __init__(self, progress: StudyProgress, store: Store, display: LiveDisplay) -> None:
        super().__init__(progress, display)
        self._progress = progress
        self._store = store
        # By the id of a trial. Stored times change when the reference model's time is estimated
        # again, so what the user has seen last may differ from what a measurement replaces.
        self._shown: dict[int, tuple[Score, ...]] = {}

    def __call__(self, event: Event) -> None:
        """Receive an event of the search."""
        self._progress.follow(event)
        match event:
            case StudyStarted():
                self._progress.read_earlier(self._store)
                references = self._store.trials(event.study, "reference")
                earlier = (*references, *self._progress.ended)
                self._shown = {trial.id: trial.scores for trial in earlier}
                done = trials_of(event.ended, event.total)
                self._display.print_instead(f"{event.study}: {done} are done")
                proxy = self._progress.spec.proxy
                if proxy.method == "scratch" and event.ended < event.total:
                    at_once = f", {event.parallel} at a time" if event.parallel > 1 else ""
                    self._display.print_instead(
                        f"candidates are trained on {proxy.token_budget:,} tokens each{at_once}"
                    )
            case StageStarted() | StageProgress():
                self._display.update()
            case TrialEnded():
                self.print_result(ending(event.trial, self._progress.spec))
                self._shown[event.trial.id] = event.trial.scores
            case TrialRemeasured():
                shown = self._shown.get(event.trial.id, event.earlier)
                self.print_result(remeasured(event.trial, shown, self._progress.spec))
                self._shown[event.trial.id] = event.trial.scores
            case Remark():
                self._display.print(event.text)
            case _:
                pass


@contextmanager
def live_study(spec: StudySpec, store: Store, clock: Clock = time.monotonic) -> Iterator[LiveStudy]:
    """Draw a running study on a terminal; elsewhere print lines about its stages and trials.

    Args:
        spec: The study.
        store: The study's database, from which the trials of earlier runs are read.
        clock: Measures the time of the trials and that between lines, in seconds.
    """
    progress = StudyProgress(spec, clock)

    def view() -> RenderableType:
        return study_view(progress, clock())

    def line() -> ProgressLine | None:
        return study_line(progress, clock())

    with live_display(view, line, clock) as display:
        yield LiveStudy(progress, store, display)


def study_view(progress: StudyProgress, now: float) -> RenderableType:
    """Return a view of the study's progress, the trials at work and its front so far.

    Args:
        progress: What has happened.
        now: The present time on the progress's clock, in seconds.
    """
    if progress.preparation:
        return Text.assemble((progress.spec.name, "bold"), f"  {progress.preparation}")
    return Group(_headline(progress, now), *_at_work(progress, now), _front(progress))


def study_line(progress: StudyProgress, now: float) -> ProgressLine | None:
    """Return the trials at work as a line, or None once all candidates have ended.

    The line is about the stage that began last, and mentions the others.

    Args:
        progress: What has happened.
        now: The present time on the progress's clock, in seconds.
    """
    if progress.preparation:
        return preparation_line(progress.spec.name, progress.preparation)
    overall = f"{trials_of(len(progress.ended), progress.total)} done"
    seconds_left = progress.seconds_left(now)
    begun = [(each.trial, each.stage) for each in list(progress.at_work.values()) if each.stage]
    if not begun:
        if len(progress.ended) >= progress.total:
            return None
        return ProgressLine(
            stage=f"{progress.spec.name}  proposing the next candidate",
            overall=overall,
            seconds_left=seconds_left,
        )
    *others, (trial, stage) = begun
    return ProgressLine(
        stage=f"{_title(trial)}  {stage.name}",
        is_news=trial.id == progress.begun_last,
        activity=stage.activity,
        done=stage.done,
        stage_seconds_left=stage.seconds_left(now),
        others=tuple(_row_at_work(progress, other, its).clause() for other, its in others),
        overall=overall,
        seconds_left=seconds_left,
    )


def ending(trial: Trial, spec: StudySpec) -> Text:
    """Return a line that states how a trial ended, with its objectives or the reason."""
    assert trial.outcome is not None
    line = Text.assemble(f"{trial.title:14} ", (f"{trial.outcome.state:10} ", "bold"))
    if trial.model is not None:
        line.append_text(layout_strip(trial.model.layout))
    values = [named_score(spec, score) for score in _objective_scores(trial, spec)]
    line.append("  " + ", ".join(values))
    if trial.outcome.reason is not None:
        line.append(f"; {trial.outcome.reason}")
    if trial.duplicate_of is not None:
        line.append(f" (duplicate of trial {trial.duplicate_of})")
    return line


def remeasured(trial: Trial, shown: Sequence[Score], spec: StudySpec) -> Text:
    """Return a line that states which objectives of a trial have new values.

    Args:
        trial: The trial with its new scores.
        shown: Its scores as the user has seen them last.
        spec: The study.
    """
    earlier = {score.name: score_number(spec, score) for score in shown}
    now = _objective_scores(trial, spec)
    changes = [
        f"{named_score(spec, score)} (before: {earlier[score.name]})"
        for score in now
        if earlier.get(score.name, "") not in ("", score_number(spec, score))
    ]
    timed = [f"{named_score(spec, score)} (as before)" for score in now if is_timed(score.name)]
    text = ", ".join(changes or timed) or "no objective has changed"
    return Text.assemble(f"{trial.title:14} ", ("remeasured ", "bold"), f" {text}")


def _objective_scores(trial: Trial, spec: StudySpec) -> list[Score]:
    """Return the scores of a trial that are objectives, in the order of the objectives."""
    return [
        score
        for objective in spec.objectives
        for score in trial.scores
        if score.name == objective.name
    ]


def _headline(progress: StudyProgress, now: float) -> Text:
    states = [trial.state for trial in progress.ended]
    counts = [f"{states.count(state)} {state}" for state in _COUNTED if state in states]
    return Text.assemble(
        (progress.spec.name, "bold"),
        f"  {trials_of(len(progress.ended), progress.total)}",
        f" ({', '.join(counts)})" if counts else "",
        f"  {run_times_text(now - progress.started_at, progress.seconds_left(now))}",
    )


def _at_work(progress: StudyProgress, now: float) -> Iterator[RenderableType]:
    """Yield the trial at work in detail; if there may be several, a line for each."""
    at_work = [
        (each.trial, each.stage or LiveStage("starting", now))
        for each in list(progress.at_work.values())
    ]
    if not at_work:
        if len(progress.ended) < progress.total:
            yield Text("proposing the next candidate")
        return
    last, last_stage = at_work[-1]
    if progress.parallel == 1:
        line = Text.assemble((f"{_title(last)}  ", "bold"))
        if last.model is not None:
            line.append_text(layout_strip(last.model.layout))
            line.append(f"  {last.model.parameters / 1e6:,.1f} million parameters")
        yield line
        yield from last_stage.drawn(now)
        return
    rows = [_row_at_work(progress, trial, stage) for trial, stage in at_work]
    yield LiveRows(rows, now, other_lines=_OTHER_LINES)
    yield Text(last_stage.activity, style="dim")


def _row_at_work(progress: StudyProgress, trial: Trial, stage: LiveStage) -> LiveRow:
    return LiveRow(
        title=_title(trial),
        model=trial.model,
        label=stage.name,
        stage=stage,
        is_paused=progress.is_paused(trial),
    )


def _title(trial: Trial) -> str:
    return trial.title if trial.reference is None else f"reference {trial.title}"


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
    provisional = [bool(trial.provisional(names)) for trial in complete]
    members = [complete[index] for index in non_dominated(values, provisional)]
    units = {score.name: score.unit for score in complete[0].scores}
    ordered = sorted(members, key=lambda trial: trial.values[names[0]])
    grid = CandidateTable(
        names=("front",),
        figures=tuple(f"{name}\n{units[name]}" for name in names),
        rows=tuple(_row(trial, progress.spec) for trial in ordered[:_MOST_FRONT_ROWS]),
    )
    return Group(grid, *more_line(len(ordered) - _MOST_FRONT_ROWS))


def _row(trial: Trial, spec: StudySpec) -> Row:
    assert trial.model is not None
    return Row(
        names=(f"trial {trial.number}",),
        model=trial.model,
        figures=tuple(score_number(spec, score) for score in _objective_scores(trial, spec)),
    )
