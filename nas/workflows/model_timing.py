"""Time models for `nas measure`, each interleaved with a reference model that stays loaded."""

import contextlib
import functools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evaluators.evaluator import EvaluationFailed
from evaluators.speed.built_model import build_and_load, unsupported_by_format
from evaluators.speed.runners import RUNNERS, RunnerDefinition, make_runner
from hardware.cores import idlest_cores
from hardware.progress import Say
from hardware.quiet import measuring
from hardware.runner import LoadedModel, ModelFormat, Runner, RunnerError
from hardware.stability import TimingBudget, measure_alone, measure_paired
from nas.inputs.model_argument import Measurable, ModelFile
from nas.workflows.comparison import Comparison, Failure, Measured
from nas.workflows.work_progress import WorkListener, WorkProgress
from search_space.input_errors import one_of
from search_space.quantization import QUANTIZATIONS, Quantization

# The runners that time real devices, by the name of their runtime.
_RUNNERS: Mapping[str, RunnerDefinition] = {
    definition.runtime: definition for definition in RUNNERS.values() if not definition.is_simulated
}
_DEFAULT_RUNTIME = RUNNERS["local"].runtime
_DEFAULT_QUANTIZATION: Quantization = "int4"
_FAILURES = (RunnerError, EvaluationFailed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How all models of a comparison are measured.

    Attributes:
        timing_budgets: One per workload, in the order in which they are measured.
        model_format: The format that architectures are written in.
        quantization: The quantisation of architectures.
        threads: Number of threads, each on a core of its own.
    """

    timing_budgets: tuple[TimingBudget, ...]
    model_format: ModelFormat
    quantization: Quantization
    threads: int

    @property
    def capacity(self) -> int:
        """The longest context that a workload needs, in tokens."""
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
    """Check the options of a comparison.

    Args:
        models: All models, including the reference model.
        timing_budgets: One per workload; duplicates are ignored.
        runtime: The runtime for architectures; None is onnxruntime.
        quantization: The quantisation of architectures; None is int4.
        threads: Number of threads.

    Raises:
        ValueError: An option is unknown or would have no effect, or the context of a model file is
            shorter than a workload needs.
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
        quantization=next((q for q in QUANTIZATIONS if q == quantization), _DEFAULT_QUANTIZATION),
        threads=threads,
    )
    files = [(model.name, model.source) for model in models if isinstance(model.source, ModelFile)]
    if len(files) == len(models):
        if quantization is not None:
            raise ValueError(
                f"quantization: '{quantization}' applies to architectures only; model files are "
                "measured as they are"
            )
        for name, file in files:
            if runtime is not None and file.model_format != conditions.model_format:
                raise ValueError(f"runtime: '{runtime}' cannot run {name}")
    for name, file in files:
        if file.context_length is not None and file.context_length < conditions.capacity:
            raise ValueError(
                f"workload: {conditions.capacity:,} tokens in total exceed "
                f"{file.context_length:,}, the context length of {name}"
            )
    return conditions


def measure_models(
    models: Sequence[Measurable],
    against: Measurable | None,
    conditions: Conditions,
    listener: WorkListener,
) -> Comparison:
    """Measure every workload of every model, interleaved with a reference model.

    A model that fails is reported among the failures, and the others are still measured.

    Args:
        models: The models. A single model is measured alone unless `against` is given.
        against: The reference model; None takes the first of `models` that can be measured.
        conditions: How to measure.
        listener: Receives the progress; an item is a model.

    Raises:
        ValueError: This machine lacks cores or a program.
    """
    everything = models if against is None else (*models, against)
    session = _Session(conditions, everything, listener)
    patience_s = max(timing_budget.seconds for timing_budget in conditions.timing_budgets)
    with measuring(session.say_about("the machine"), patience_s=patience_s) as waited_s:
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
    """The runners of a comparison, and its results so far."""

    def __init__(
        self, conditions: Conditions, models: Sequence[Measurable], listener: WorkListener
    ) -> None:
        self.measured: list[Measured] = []
        self.failures: list[Failure] = []
        self._conditions = conditions
        self._listener = listener
        self._total = len(set(models))
        cores = functools.cache(idlest_cores)  # both runtimes use the same cores
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
        """Measure the models and return the reference model; None if a model was measured alone."""
        queue = deque(models)
        if against is not None and against in queue and len(queue) > 1:
            queue.remove(against)
        while True:
            reference = against or queue.popleft()
            try:
                if queue:
                    self._measure_interleaved(reference, queue)
                if self.measured or reference not in models:
                    return reference
                self._measure_alone(reference)
                return None
            except _FAILURES as failure:
                self._fail(reference, str(failure))
            if self.measured or against is not None or not queue:
                for model in queue:
                    self._fail(model, f"not measured, because {reference.name} failed")
                return reference

    def say_about(self, subject: str) -> Say:
        """Return a callback for texts about a model, or about the machine."""

        def say(text: str) -> None:
            done = len(self.measured) + len(self.failures)
            self._listener(WorkProgress(subject=subject, text=text, done=done, total=self._total))

        return say

    def _measure_interleaved(self, reference: Measurable, queue: deque[Measurable]) -> None:
        """Remove models from the queue once they are measured or fail; raise if `reference` fails.

        A model that was being measured when the reference model failed remains in the queue.
        """
        with self._loaded(reference) as loaded_reference:
            while queue:
                model = queue[0]
                try:
                    with self._loaded(model) as loaded_model:
                        measurements = measure_paired(
                            loaded_model,
                            loaded_reference,
                            self._conditions.timing_budgets,
                            self.say_about(model.name),
                        )
                except _FAILURES as failure:
                    loaded_reference.snapshot()  # raises if it was the reference model that failed
                    self._fail(model, str(failure))
                else:
                    self.measured.append(Measured(model=model, measurements=measurements))
                queue.popleft()

    def _measure_alone(self, model: Measurable) -> None:
        with self._loaded(model) as loaded_model:
            measurements = measure_alone(
                loaded_model, self._conditions.timing_budgets, self.say_about(model.name)
            )
        self.measured.append(Measured(model=model, measurements=measurements))

    @contextlib.contextmanager
    def _loaded(self, model: Measurable) -> Iterator[LoadedModel]:
        """Load a model, or raise RunnerError or EvaluationFailed."""
        conditions, runner = self._conditions, self._runners[self._format(model)]
        self.say_about(model.name)("loading")
        if isinstance(model.source, ModelFile):
            with runner.load(model.source.path, conditions.capacity) as loaded_model:
                yield loaded_model
            return
        reason = unsupported_by_format(model.source, runner.model_format)
        if reason is not None:
            raise EvaluationFailed("build error", reason)
        with build_and_load(
            runner, model.source, conditions.quantization, conditions.capacity
        ) as loaded_model:
            yield loaded_model

    def _format(self, model: Measurable) -> ModelFormat:
        source = model.source
        return (
            source.model_format if isinstance(source, ModelFile) else self._conditions.model_format
        )

    def _fail(self, model: Measurable, reason: str) -> None:
        self.failures.append(Failure(model=model, reason=reason))


def _memory_needed(timing_budget: TimingBudget) -> tuple[bool, int, int]:
    """Return a key that sorts workloads by the memory that they need.

    Runtimes do not return memory. In this order, a workload's peak memory includes little that
    earlier workloads allocated.
    """
    workload = timing_budget.workload
    return workload.phase == "prefill", workload.depth + workload.tokens, workload.tokens


def _runner_with(runtime: str | None) -> RunnerDefinition:
    name = runtime or _DEFAULT_RUNTIME
    if name not in _RUNNERS:
        raise ValueError(f"runtime: '{runtime}' is not {one_of(list(_RUNNERS))}")
    return _RUNNERS[name]
