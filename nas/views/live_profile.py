"""The live view of a profile: what is known so far; without a terminal, one line per model."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.text import Text

from nas.findings.wording import duration, megabytes
from nas.views.live_display import live_display
from nas.views.profile_tables import profile_view
from nas.views.terminal import notices
from nas.workflows.profile_plan import setting_title
from nas.workflows.profile_timing import Profiling
from nas.workflows.work_progress import WorkListener, WorkProgress

# Loading and the last windows, in addition to the seconds that a workload is timed for.
_OVERHEAD = 1.5


@contextmanager
def live_profile(profiling: Profiling) -> Iterator[WorkListener]:
    """Draw a profile on a terminal while it is timed; elsewhere print a line per model.

    Args:
        profiling: The profile, from which the view reads what is known.
    """
    view = _View(profiling)
    with live_display(lambda: view.drawn) as display:

        def listen(progress: WorkProgress) -> None:
            if display.is_drawn:  # computing the view takes a while
                view.follow(progress)
            display.print_start(progress.subject, view.headline(progress))

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

    def __init__(self, profiling: Profiling) -> None:
        self.drawn: RenderableType = ""
        self._profiling = profiling
        self._known: RenderableType = ""
        self._done_shown = -1
        self._done_before = profiling.done
        self._started_at = time.monotonic()

    def follow(self, progress: WorkProgress) -> None:
        setting = self._profiling.setting
        if progress.done != self._done_shown and setting is not None:
            self._done_shown = progress.done
            self._known = profile_view(self._profiling.profile(setting))
        self.drawn = Group(
            self._known, Text(self.headline(progress)), Text(progress.text, style="dim")
        )

    def headline(self, progress: WorkProgress) -> str:
        return (
            f"{progress.done} of {progress.total} times measured, about "
            f"{duration(self._seconds_left(progress))} left: {progress.subject}"
        )

    def _seconds_left(self, progress: WorkProgress) -> float:
        """Estimate from the mean time so far; before the first, from the timing budget."""
        done = progress.done - self._done_before
        if done:
            seconds_each = (time.monotonic() - self._started_at) / done
        else:
            seconds_each = _OVERHEAD * self._profiling.plan.profile_budget.seconds
        return seconds_each * (progress.total - progress.done)
