"""Time the models of a profile one by one, and cache each time as soon as it is known."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from evaluators.cache import EvaluationCache
from evaluators.evaluator import Evaluation, EvaluationFailed
from evaluators.speed.latency import Quiet
from evaluators.speed.operators.paired_timer import PairedTimer, paired_ratio, reference_ms
from evaluators.speed.operators.probe_times import ModelTimes, PairedTime, Profile, Setting
from evaluators.speed.runners import make_runner
from hardware.machine_lock import DEFAULT_LOCK_WAIT, LockWait
from hardware.measurement import Workload
from hardware.processor_cache import largest_cache_bytes
from hardware.runner import Runner
from nas.workflows.profile_plan import ProfilePlan, setting_title
from nas.workflows.work_progress import WorkListener, WorkProgress
from search_space.architecture import Architecture
from search_space.probes import (
    layers_beyond_cache,
    lightest_probe_bytes,
    make_probes,
    whole_models,
)
from studies.search.interrupts import Interrupts

_DECODE_TOKENS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsInCache:
    """A setting whose lightest probe fits in this machine's cache, where it is unusually fast.

    Attributes:
        setting: The setting.
        weight_bytes: Size of the weights of the lightest probe.
        cache_bytes: Size of the largest cache of this machine.
    """

    setting: Setting
    weight_bytes: int
    cache_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A model of a setting, and the workloads that it is timed with."""

    setting: Setting
    name: str
    architecture: Architecture
    workloads: tuple[Workload, ...]
    is_probe: bool


class Profiling:
    """The timing of a plan, whose profiles can be read at any moment.

    Attributes:
        plan: What is timed.
        total: Number of timings in the plan.
        done: Number of timings that are known, including cached ones.
        remarks: What the user should know about how the times came about, as sentences.
        setting: The setting that is being timed; None before the first.
    """

    def __init__(
        self,
        plan: ProfilePlan,
        runners: Mapping[int, Runner],
        cache: EvaluationCache,
        *,
        cache_bytes: int,
        quiet: Quiet | None = None,
        lock_wait: LockWait = DEFAULT_LOCK_WAIT,
    ) -> None:
        """Read from the cache which times are known.

        Args:
            plan: What to time.
            runners: The runner for each number of threads.
            cache: Stores the times.
            cache_bytes: Size of this machine's largest processor cache, which the weights of a
                model should exceed.
            quiet: See PairedTimer.
            lock_wait: See PairedTimer.

        Raises:
            ValueError: A width is not possible.
        """
        self.plan = plan
        self.done = 0
        self.setting: Setting | None = None
        self.remarks: list[str] = []
        self._quiet = quiet
        self._lock_wait = lock_wait
        self._runners = runners
        self._cache = cache
        self._cache_bytes = cache_bytes
        self._settings = tuple(_settings(plan, cache_bytes))
        self._tasks = [task for setting in self._settings for task in _tasks(setting, plan)]
        self._failures: dict[tuple[Setting, Architecture], str] = {}
        self._known: dict[tuple[Setting, Architecture, Workload], dict[int, Evaluation]] = {}
        self.total = plan.profile_budget.rounds * sum(len(task.workloads) for task in self._tasks)
        for task, number in itertools.product(self._tasks, range(plan.profile_budget.rounds)):
            timer = self._timer(task.setting, number)
            for workload in task.workloads:
                found = cache.load_evaluation(timer.fingerprint(workload), task.architecture)
                if found is not None:
                    self._add(task, workload, number, found)

    def run(self, listener: WorkListener) -> None:
        """Time what is not known yet. A model that fails is left out.

        Each round times every model of a setting, so that first results are available early and the
        repeated timings of a model are far apart. Ctrl-C loses at most the workload that is being
        timed.

        Args:
            listener: Receives the progress; an item is a model in a round, and `done` and `total`
                count timings.
        """
        interrupts = Interrupts()
        with interrupts.deferred(), interrupts.immediate():
            for setting, number in itertools.product(
                self._settings, range(self.plan.profile_budget.rounds)
            ):
                self.setting = setting
                with self._timer(setting, number) as timer:
                    for task in self._tasks:
                        if task.setting == setting:
                            self._time(task, number, timer, interrupts, listener)

    def profiles(self) -> tuple[Profile, ...]:
        """Return what is known, including failures."""
        return tuple(self.profile(setting) for setting in self._settings)

    def profile(self, setting: Setting) -> Profile:
        """Return what is known about one setting."""
        return Profile(
            setting=setting,
            probes=tuple(self._times(setting, is_probe=True)),
            models=tuple(self._times(setting, is_probe=False)),
        )

    def weights_in_cache(self) -> tuple[WeightsInCache, ...]:
        """Return the settings of which at least the lightest probe fits in this machine's cache."""
        weight_bytes = {
            setting: lightest_probe_bytes(setting.width, setting.layers, setting.quantization)
            for setting in self._settings
        }
        return tuple(
            WeightsInCache(setting=setting, weight_bytes=count, cache_bytes=self._cache_bytes)
            for setting, count in weight_bytes.items()
            if count < self._cache_bytes
        )

    def _time(
        self,
        task: _Task,
        number: int,
        timer: PairedTimer,
        interrupts: Interrupts,
        listener: WorkListener,
    ) -> None:
        place = (task.setting, task.architecture)
        missing = [
            workload
            for workload in task.workloads
            if number not in self._known.get((*place, workload), {})
        ]
        if not missing or place in self._failures:
            return
        subject = f"{setting_title(task.setting)}, {task.name}, round {number + 1}"

        def say(text: str) -> None:
            listener(WorkProgress(subject=subject, text=text, done=self.done, total=self.total))

        def timed(workload: Workload, evaluation: Evaluation) -> None:
            with interrupts.deferred_again():
                fingerprint = timer.fingerprint(workload)
                # Provisional times are shown, and measured again by the next profile.
                if not any(score.provisional for score in evaluation.scores):
                    self._cache.save_evaluation(fingerprint, task.architecture, evaluation)
                self._add(task, workload, number, evaluation)

        try:
            timer.time(task.architecture, missing, say, timed, self._remark)
        except EvaluationFailed as failure:
            self._failures[place] = str(failure)

    def _timer(self, setting: Setting, number: int) -> PairedTimer:
        capacity = max(self.plan.prompt, max(self.plan.depths) + _DECODE_TOKENS)
        runner = self._runners[setting.threads]
        return PairedTimer(
            runner,
            setting,
            self.plan.profile_budget,
            number,
            capacity,
            self._quiet,
            self._lock_wait,
        )

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)

    def _add(self, task: _Task, workload: Workload, number: int, evaluation: Evaluation) -> None:
        known = self._known.setdefault((task.setting, task.architecture, workload), {})
        known[number] = evaluation
        self.done += 1

    def _times(self, setting: Setting, *, is_probe: bool) -> Iterator[ModelTimes]:
        for task in self._tasks:
            if task.setting != setting or task.is_probe != is_probe:
                continue
            place = (setting, task.architecture)
            rounds = {
                workload: list(known.values())
                for workload in task.workloads
                if (known := self._known.get((*place, workload)))
            }
            yield ModelTimes(
                architecture=task.architecture,
                times=tuple(
                    PairedTime(
                        workload=workload,
                        ratios=tuple(map(paired_ratio, known)),
                        reference_ms=tuple(map(reference_ms, known)),
                    )
                    for workload, known in rounds.items()
                ),
                failure=self._failures.get(place),
            )


def profile_this_machine(
    plan: ProfilePlan, cache: EvaluationCache, lock_wait: LockWait = DEFAULT_LOCK_WAIT
) -> Profiling:
    """Return the timing of a plan on this machine; nothing is timed before its `run`.

    Args:
        plan: What to time.
        cache: Stores the times.
        lock_wait: See PairedTimer.

    Raises:
        ValueError: This machine has fewer cores than the plan needs, or a width is not possible.
    """
    runners = {threads: make_runner("local", threads=threads) for threads in plan.threads}
    return Profiling(plan, runners, cache, cache_bytes=largest_cache_bytes(), lock_wait=lock_wait)


def _settings(plan: ProfilePlan, cache_bytes: int) -> Iterator[Setting]:
    for width, quantization, threads in itertools.product(
        plan.widths, plan.quantizations, plan.threads
    ):
        yield Setting(
            width=width,
            layers=layers_beyond_cache(width, quantization, cache_bytes),
            quantization=quantization,
            threads=threads,
            kinds=plan.kinds,
        )


def _tasks(setting: Setting, plan: ProfilePlan) -> Iterator[_Task]:
    """Yield the models of a setting.

    Probes without a KV cache take the same time at any depth, so they are timed at the smallest
    depth only.
    """
    prompt = Workload(phase="prefill", tokens=plan.prompt)
    decoding = [
        Workload(phase="decode", tokens=_DECODE_TOKENS, depth=depth) for depth in plan.depths
    ]
    for probe in make_probes(setting.width, setting.layers, setting.kinds):
        depths = decoding if probe.has_kv_cache else decoding[:1]
        yield _Task(
            setting=setting,
            name=probe.part,
            architecture=probe.architecture,
            workloads=(*depths, prompt),
            is_probe=True,
        )
    for model in whole_models(setting.width, plan.models, setting.kinds):
        yield _Task(
            setting=setting,
            name=model.layout,
            architecture=model,
            workloads=(
                (decoding[0], decoding[-1], prompt) if len(decoding) > 1 else (decoding[0], prompt)
            ),
            is_probe=False,
        )
