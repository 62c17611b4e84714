"""Measuring models for `nas measure`: each in turns with one of them, which stays loaded."""

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from evaluators.evaluator import EvaluationFailed
from evaluators.speed.built_model import inexpressible, loaded
from evaluators.speed.runners import RUNNERS, RunnerDefinition, make_runner
from hardware.cores import idlest_cores
from hardware.quiet import measuring
from hardware.runner import LoadedModel, ModelFormat, Runner, RunnerError
from hardware.stability import TimingBudget, measure_alone, measure_paired
from nas.inputs.measurable import Measurable, ModelFile
from nas.views.comparison_view import Watch
from nas.workflows.comparison import Comparison, Failure, Measured
from search_space.input_errors import one_of
from search_space.quantization import QUANTIZATIONS, Quantization

# The runners that time real devices, by the name of their runtime.
_RUNNERS: Mapping[str, RunnerDefinition] = {
    definition.runtime: definition for definition in RUNNERS.values() if not definition.is_simulated
}
_DEFAULT_RUNTIME = RUNNERS["local"].runtime
_USUAL_QUANTIZATION: Quantization = "int4"
_FAILED = (RunnerError, EvaluationFailed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Under which all models are measured.

    model_format, quantization: what architectures are built as.
    """

    timing_budgets: tuple[TimingBudget, ...]
    model_format: ModelFormat
    quantization: Quantization
    threads: int

    @property
    def capacity(self) -> int:
        return max(
            timing_budget.workload.tokens + timing_budget.workload.depth
            for timing_budget in self.timing_budgets
        )


def conditions_of(
    models: Sequence[Measurable],
    timing_budgets: Sequence[TimingBudget],
    *,
    runtime: str | None,
    quantization: str | None,
    threads: int,
) -> Conditions:
    """For `models`, the reference among them; None takes onnxruntime, and int4.

    ValueError for what is unknown, for what would be passed over, and for a file whose context is
    too short.
    """
    runner = _runner_with(runtime)
    if quantization is not None and quantization not in runner.quantizations:
        raise ValueError(
            f"quantization: '{quantization}' is not {one_of(runner.quantizations)}, which "
            f"{runner.runtime} supports"
        )
    conditions = Conditions(
        timing_budgets=tuple(sorted(set(timing_budgets), key=_memory_needed)),
        model_format=runner.model_format,
        quantization=next((q for q in QUANTIZATIONS if q == quantization), _USUAL_QUANTIZATION),
        threads=threads,
    )
    files = [(model.name, model.source) for model in models if isinstance(model.source, ModelFile)]
    if len(files) == len(models):
        if quantization is not None:
            raise ValueError(
                f"quantization: '{quantization}' is for architectures, which are built; model "
                "files are measured as they are"
            )
        for name, file in files:
            if runtime is not None and file.model_format != conditions.model_format:
                raise ValueError(f"runtime: '{runtime}' does not run {name}")
    for name, file in files:
        if file.context_length is not None and file.context_length < conditions.capacity:
            raise ValueError(
                f"workload: {conditions.capacity:,} tokens in all are above "
                f"{file.context_length:,}, the context of {name}"
            )
    return conditions


def measure_models(
    models: Sequence[Measurable],
    against: Measurable | None,
    conditions: Conditions,
    watch: Watch,
) -> Comparison:
    """Every workload of every model, each in turns with `against`, or else with the first model
    that can be measured, which stays loaded. A model on its own is measured alone.

    One that fails is among the failures. ValueError for what this machine lacks: cores, a program.
    """
    everything = models if against is None else (*models, against)
    session = _Session(conditions, everything, watch)
    patience_s = max(timing_budget.seconds for timing_budget in conditions.timing_budgets)
    with measuring(lambda text: watch("the machine", text), patience_s=patience_s) as waited_s:
        reference = session.measure_all(models, against)
    return Comparison(
        timing_budgets=conditions.timing_budgets,
        quantization=conditions.quantization,
        reference=reference if session.measured else None,
        measured=tuple(session.measured),
        failures=tuple(session.failures),
        waited_s=waited_s,
    )


class _Session:
    """Of one comparison: the runners, and what has come of the models so far."""

    def __init__(self, conditions: Conditions, models: Sequence[Measurable], watch: Watch) -> None:
        self.measured: list[Measured] = []
        self.failures: list[Failure] = []
        self._conditions = conditions
        self._watch = watch
        cores = functools.cache(idlest_cores)  # for both runtimes the same
        self._runners: dict[ModelFormat, Runner] = {}
        formats = {self._format(model) for model in models}
        for definition in _RUNNERS.values():
            if definition.model_format in formats:
                self._runners[definition.model_format] = make_runner(
                    definition.kind, threads=conditions.threads, choose_cores=cores
                )

    def measure_all(
        self, models: Sequence[Measurable], against: Measurable | None
    ) -> Measurable | None:
        """Returns what models were measured in turns with; None where one was measured alone."""
        queue = deque(models)
        if against is not None and against in queue and len(queue) > 1:
            queue.remove(against)
        while True:
            reference = against or queue.popleft()
            try:
                if queue:
                    self._measure_beside(reference, queue)
                if self.measured or reference not in models:
                    return reference
                self._measure_alone(reference)
                return None
            except _FAILED as failure:
                self._fail(reference, str(failure))
            if self.measured or against is not None or not queue:
                for model in queue:
                    self._fail(model, f"not measured, for want of {reference.name}")
                return reference

    def _measure_beside(self, reference: Measurable, queue: deque[Measurable]) -> None:
        """Takes from `queue` what is measured or fails; raises where it is the reference."""
        with self._loaded(reference) as standing:
            while queue:
                model = queue[0]
                try:
                    with self._loaded(model) as loaded_model:
                        measurements = measure_paired(
                            loaded_model,
                            standing,
                            self._conditions.timing_budgets,
                            self._say(model),
                        )
                except _FAILED as failure:
                    standing.snapshot()  # which fails where the failure is the reference's
                    self._fail(model, str(failure))
                else:
                    self.measured.append(Measured(model=model, measurements=measurements))
                queue.popleft()

    def _measure_alone(self, model: Measurable) -> None:
        with self._loaded(model) as loaded_model:
            measurements = measure_alone(
                loaded_model, self._conditions.timing_budgets, self._say(model)
            )
        self.measured.append(Measured(model=model, measurements=measurements))

    @contextlib.contextmanager
    def _loaded(self, model: Measurable) -> Iterator[LoadedModel]:
        """Raises RunnerError and EvaluationFailed."""
        conditions, runner = self._conditions, self._runners[self._format(model)]
        self._say(model)("is loaded")
        if isinstance(model.source, ModelFile):
            with runner.load(model.source.path, conditions.capacity) as loaded_model:
                yield loaded_model
            return
        reason = inexpressible(model.source, runner.model_format)
        if reason is not None:
            raise EvaluationFailed("build error", reason)
        with loaded(
            runner, model.source, conditions.quantization, conditions.capacity
        ) as loaded_model:
            yield loaded_model

    def _format(self, model: Measurable) -> ModelFormat:
        source = model.source
        return (
            source.model_format if isinstance(source, ModelFile) else self._conditions.model_format
        )

    def _say(self, model: Measurable) -> Callable[[str], None]:
        return lambda text: self._watch(model.name, text)

    def _fail(self, model: Measurable, reason: str) -> None:
        self.failures.append(Failure(model=model, reason=reason))


def _memory_needed(timing_budget: TimingBudget) -> tuple[bool, int, int]:
    """In this order a workload finds little that others have left: a runtime gives nothing back."""
    workload = timing_budget.workload
    return workload.phase == "prefill", workload.depth + workload.tokens, workload.tokens


def _runner_with(runtime: str | None) -> RunnerDefinition:
    name = runtime or _DEFAULT_RUNTIME
    if name not in _RUNNERS:
        raise ValueError(f"runtime: '{runtime}' is not {one_of(list(_RUNNERS))}")
    return _RUNNERS[name]
