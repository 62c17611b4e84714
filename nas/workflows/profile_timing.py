"""Times the models of a profile one by one, and remembers each time as soon as it is there."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from evaluators.cache import EvaluationCache
from evaluators.evaluator import Evaluation, EvaluationFailed
from evaluators.speed.latency import Quiet
from evaluators.speed.operators.paired_timer import PairedTimer, paired_ratio, reference_ms
from evaluators.speed.operators.probe_times import ModelTimes, PairedTime, Profile, Setting
from hardware.measurement import Workload
from hardware.runner import Runner
from nas.workflows.profile_plan import ProfilePlan
from search_space.architecture import Architecture
from search_space.probes import layers_beyond, make_probes, whole_models
from studies.search.interrupts import Interrupts

_DECODE_TOKENS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileStep:
    """A model that is being timed; done: of the plan's `wanted` times, those that are known."""

    setting: Setting
    name: str
    round_number: int
    done: int
    wanted: int


Watch: TypeAlias = Callable[[ProfileStep, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A model of a setting and what it is timed with."""

    setting: Setting
    name: str
    architecture: Architecture
    workloads: tuple[Workload, ...]
    is_probe: bool


class Profiling:
    """A plan on its way, whose profiles can be read at any time.

    done: of the `wanted` times, those that are known.
    """

    def __init__(
        self,
        plan: ProfilePlan,
        runners: Mapping[int, Runner],
        memory: EvaluationCache,
        *,
        cache_bytes: int,
        quiet: Quiet | None = None,
    ) -> None:
        """runners: by threads. quiet: see PairedTimer. Raises ValueError for an odd width."""
        self._quiet = quiet
        self._plan = plan
        self._runners = runners
        self._memory = memory
        self._settings = tuple(_settings(plan, cache_bytes))
        self._tasks = [task for setting in self._settings for task in _tasks(setting, plan)]
        self._failures: dict[tuple[Setting, Architecture], str] = {}
        self._known: dict[tuple[Setting, Architecture, Workload], dict[int, Evaluation]] = {}
        self.wanted = plan.profile_budget.rounds * sum(len(task.workloads) for task in self._tasks)
        self.done = 0
        for task, number in itertools.product(self._tasks, range(plan.profile_budget.rounds)):
            timer = self._timer(task.setting, number)
            for workload in task.workloads:
                found = memory.load_evaluation(timer.fingerprint(workload), task.architecture)
                if found is not None:
                    self._add(task, workload, number, found)

    def run(self, watch: Watch) -> None:
        """Times what is not known yet; a model that fails is left out.

        Round after round, so that a first picture is there early and the rounds of a model lie
        apart. Ctrl-C loses no more than the workload in hand.
        """
        interrupts = Interrupts()
        with interrupts.held_back(), interrupts.let_through():
            for setting, number in itertools.product(
                self._settings, range(self._plan.profile_budget.rounds)
            ):
                with self._timer(setting, number) as timer:
                    for task in self._tasks:
                        if task.setting == setting:
                            self._time(task, number, timer, interrupts, watch)

    def profiles(self) -> tuple[Profile, ...]:
        """What is known, failures included."""
        return tuple(
            Profile(
                setting=setting,
                probes=tuple(self._times(setting, is_probe=True)),
                models=tuple(self._times(setting, is_probe=False)),
            )
            for setting in self._settings
        )

    def _time(
        self, task: _Task, number: int, timer: PairedTimer, interrupts: Interrupts, watch: Watch
    ) -> None:
        place = (task.setting, task.architecture)
        missing = [
            workload
            for workload in task.workloads
            if number not in self._known.get((*place, workload), {})
        ]
        if not missing or place in self._failures:
            return

        def report(text: str) -> None:
            step = ProfileStep(
                setting=task.setting,
                name=task.name,
                round_number=number,
                done=self.done,
                wanted=self.wanted,
            )
            watch(step, text)

        def timed(workload: Workload, evaluation: Evaluation) -> None:
            with interrupts.held_back_again():
                fingerprint = timer.fingerprint(workload)
                self._memory.save_evaluation(fingerprint, task.architecture, evaluation)
                self._add(task, workload, number, evaluation)

        try:
            timer.time(task.architecture, missing, report, timed)
        except EvaluationFailed as failure:
            self._failures[place] = str(failure)

    def _timer(self, setting: Setting, number: int) -> PairedTimer:
        capacity = max(self._plan.prompt, max(self._plan.depths) + _DECODE_TOKENS)
        runner = self._runners[setting.threads]
        return PairedTimer(
            runner, setting, self._plan.profile_budget, number, capacity, self._memory, self._quiet
        )

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


def _settings(plan: ProfilePlan, cache_bytes: int) -> Iterator[Setting]:
    for width, quantization, threads in itertools.product(
        plan.widths, plan.quantizations, plan.threads
    ):
        yield Setting(
            width=width,
            layers=layers_beyond(width, quantization, cache_bytes),
            quantization=quantization,
            threads=threads,
            kinds=plan.kinds,
        )


def _tasks(setting: Setting, plan: ProfilePlan) -> Iterator[_Task]:
    """What does not remember all takes the same at any depth, and is timed at the shallowest."""
    prompt = Workload(phase="prefill", tokens=plan.prompt)
    texts = [Workload(phase="decode", tokens=_DECODE_TOKENS, depth=depth) for depth in plan.depths]
    for probe in make_probes(setting.width, setting.layers, setting.kinds):
        depths = texts if probe.remembers_all else texts[:1]
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
            workloads=(texts[0], texts[-1], prompt) if len(texts) > 1 else (texts[0], prompt),
            is_probe=False,
        )
