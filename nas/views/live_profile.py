"""The live view of a profile: what is known so far; without a terminal, lines about the models."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.text import Text

from nas.findings.wording import megabytes, time_left
from nas.views.live_display import Clock, ProgressLine, live_display
from nas.views.live_items import ItemTimes
from nas.views.profile_tables import profile_view
from nas.views.terminal import notices
from nas.workflows.profile_plan import setting_title
from nas.workflows.profile_timing import Profiling
from nas.workflows.work_progress import WorkListener, WorkProgress

# Loading and the last windows, in addition to the seconds that a workload is timed for.
_OVERHEAD = 1.5


@contextmanager
def live_profile(profiling: Profiling, clock: Clock = time.monotonic) -> Iterator[WorkListener]:
    """Draw a profile on a terminal while it is timed; elsewhere print lines about the models.

    Args:
        profiling: The profile, from which the view reads what is known.
        clock: Measures the time between lines and that of the models, in seconds.
    """
    view = _View(profiling, clock)
    with live_display(lambda: view.drawn, view.line, clock) as display:

        def listen(progress: WorkProgress) -> None:
            view.follow(progress)
            if display.is_drawn:  # computing the drawing takes a while
                view.draw(progress)
            display.update()

        yield listen


def print_cache_warnings(profiling: Profiling) -> None:
    """Warn about models that fit in a processor cache, where they are faster than deployed ones."""
    for found in profiling.weights_in_cache():
        notices().print(
            f"{setting_title(found.setting)}: the weights of the lightest probe "
            f"({megabytes(found.weight_bytes)} MB) fit in this machine's cache of "
            f"{megabytes(found.cache_bytes)} MB, so costs may be lower than in a larger model",
            soft_wrap=True,
        )


class _View:
    """The profile as far as it is known, the estimated time left, and what is being timed."""

    def __init__(self, profiling: Profiling, clock: Clock) -> None:
        self.drawn: RenderableType = ""
        self._profiling = profiling
        self._known: RenderableType = ""
        self._done_shown = -1
        self._times = ItemTimes(_OVERHEAD * profiling.plan.profile_budget.seconds, clock)

    def follow(self, progress: WorkProgress) -> None:
        self._times.follow(progress)

    def line(self) -> ProgressLine | None:
        latest = self._times.latest
        if latest is None:
            return None
        return ProgressLine(
            stage=latest.subject,
            activity=latest.text,
            overall=_overall(latest),
            seconds_left=self._times.seconds_left(),
        )

    def draw(self, progress: WorkProgress) -> None:
        setting = self._profiling.setting
        if progress.done != self._done_shown and setting is not None:
            self._done_shown = progress.done
            self._known = profile_view(self._profiling.profile(setting))
        left = time_left(self._times.seconds_left())
        head = f"{_overall(progress)}, {left}" if left else _overall(progress)
        self.drawn = Group(
            self._known,
            Text(f"{head}: {progress.subject}"),
            Text(progress.text, style="dim"),
        )


def _overall(progress: WorkProgress) -> str:
    return f"{progress.done} of {progress.total} times measured"
