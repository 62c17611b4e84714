"""Running a profile while someone watches, and showing what is known when it ends or is stopped."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from evaluators.speed.operators.operator_costs import operator_costs
from evaluators.speed.operators.probe_times import Profile, Setting
from evaluators.speed.runners import make_runner
from hardware.caches import largest_cache_bytes
from nas.views.profile_picture import picture_of
from nas.views.profile_tables import profile_document, profile_view, setting_title
from nas.views.terminal import duration, megabytes, notices, output, print_json
from nas.workflows.profile_plan import ProfilePlan
from nas.workflows.profile_timing import ProfileStep, Profiling, Watch
from search_space.probes import lightest_bytes
from studies.storage.store import Store

_REFRESHES_PER_SECOND = 4
# Of a workload's seconds that are asked for, what loading and the last windows come to.
_OVERHEAD = 1.5


def profile_and_show(
    plan: ProfilePlan, storage: str, picture: Path | None, *, as_json: bool
) -> None:
    """Goes on with the profile, or begins it; ValueError for what this machine lacks."""
    if picture is not None:
        _check_picture(picture)
    runners = {threads: make_runner("local", threads=threads) for threads in plan.threads}
    cache_bytes = largest_cache_bytes()
    with Store.open(storage) as store:
        profiling = Profiling(plan, runners, store, cache_bytes=cache_bytes)
        _warn_of_cache([profile.setting for profile in profiling.profiles()], cache_bytes)
        try:
            with _watching(profiling, plan) as watch:
                profiling.run(watch)
        except KeyboardInterrupt:
            _show(profiling.profiles(), picture, as_json=as_json)
            notices().print(
                f"stopped after {profiling.done} of {profiling.wanted} times; "
                "the same command goes on where it was"
            )
            raise
        _show(profiling.profiles(), picture, as_json=as_json)


def _show(profiles: tuple[Profile, ...], picture: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json(profile_document(profiles))
    else:
        for profile in profiles:
            output().print(profile_view(profile))
    if picture is not None and any(map(operator_costs, profiles)):
        picture.write_text(picture_of(profiles), encoding="utf-8")
        notices().print(f"wrote {picture}")


def _warn_of_cache(settings: Sequence[Setting], cache_bytes: int) -> None:
    for setting in settings:
        weights = lightest_bytes(setting.width, setting.layers, setting.quantization)
        if weights < cache_bytes:
            notices().print(
                f"{setting_title(setting)}: {megabytes(weights)} MB of weights of the lightest "
                f"probe stay in this machine's cache of {megabytes(cache_bytes)} MB",
                soft_wrap=True,
            )


def _check_picture(path: Path) -> None:
    if path.suffix != ".svg":
        raise ValueError(f"picture: '{path}' does not end in .svg")
    if not path.parent.is_dir():
        raise ValueError(f"picture: '{path}' lies in a folder that does not exist")


@contextmanager
def _watching(profiling: Profiling, plan: ProfilePlan) -> Iterator[Watch]:
    """Draws what is known so far on the terminal, or writes a line for each model."""
    console = notices()
    clock = _Clock(profiling, plan)
    if not console.is_terminal:
        told: list[tuple[str, str, int]] = []

        def write(step: ProfileStep, _: str) -> None:
            model = (setting_title(step.setting), step.name, step.round_number)
            if model not in told:
                told.append(model)
                console.print(clock.headline(step), soft_wrap=True)

        yield write
        return

    view = _View(profiling, clock)
    with Live(
        get_renderable=lambda: view.drawn,
        console=console,
        refresh_per_second=_REFRESHES_PER_SECOND,
        transient=True,
    ):
        yield view.follow


class _Clock:
    """How long what is left will take, from what has been timed since."""

    def __init__(self, profiling: Profiling, plan: ProfilePlan) -> None:
        self._profiling = profiling
        self._guess_s = _OVERHEAD * plan.profile_budget.seconds
        self._start = time.monotonic()
        self._done_before = profiling.done

    def headline(self, step: ProfileStep) -> str:
        return (
            f"{self._profiling.done} of {self._profiling.wanted} times known, "
            f"about {duration(self._left_s())} left: {setting_title(step.setting)}, "
            f"{step.name}, round {step.round_number + 1}"
        )

    def _left_s(self) -> float:
        done = self._profiling.done - self._done_before
        each_s = (time.monotonic() - self._start) / done if done else self._guess_s
        return each_s * (self._profiling.wanted - self._profiling.done)


class _View:
    """The profile as far as it is known, and what is being timed."""

    def __init__(self, profiling: Profiling, clock: _Clock) -> None:
        self._profiling = profiling
        self._clock = clock
        self._known: RenderableType = ""
        self._shown = -1
        self.drawn = Group()

    def follow(self, step: ProfileStep, text: str) -> None:
        if step.done != self._shown:
            self._shown = step.done
            self._known = next(
                profile_view(profile)
                for profile in self._profiling.profiles()
                if profile.setting == step.setting
            )
        self.drawn = Group(self._known, Text(self._clock.headline(step)), Text(text, style="dim"))
