"""The options of a comparison of models, checked against what the runtimes support."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evaluators.speed.runners import RUNNERS, RunnerDefinition
from hardware.machine_lock import DEFAULT_LOCK_WAIT, LockWait
from hardware.runner import ModelFormat
from hardware.stability import TimingBudget
from nas.inputs.device_argument import NamedDevice
from nas.inputs.model_argument import Measurable, ModelFile
from search_space.input_errors import one_of
from search_space.quantization import QUANTIZATIONS, Quantization

# The runners that time real devices, by the name of their runtime.
REAL_RUNNERS: Mapping[str, RunnerDefinition] = {
    definition.runtime: definition for definition in RUNNERS.values() if not definition.is_simulated
}
_DEFAULT_RUNTIME = RUNNERS["local"].runtime
_SIMULATED = RUNNERS["fake"]
_DEFAULT_QUANTIZATION: Quantization = "int4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How all models of a comparison are measured.

    Attributes:
        timing_budgets: One per workload, in the order in which they are measured. The precision is
            that of a result, which may have several runs.
        model_format: The format that architectures are written in.
        quantization: The quantisation of architectures.
        threads: Number of threads, each on a core of its own.
        lock_wait: How long to wait for other measurements and for training, and what to do then.
    """

    timing_budgets: tuple[TimingBudget, ...]
    model_format: ModelFormat
    quantization: Quantization
    threads: int
    lock_wait: LockWait = field(default_factory=LockWait)

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
    threads: int | None,
    lock_wait: LockWait = DEFAULT_LOCK_WAIT,
    device: NamedDevice | None = None,
) -> Conditions:
    """Check the options of a comparison.

    Args:
        models: All models, including the reference model.
        timing_budgets: One per workload; duplicates are ignored.
        runtime: The runtime for architectures; None is onnxruntime.
        quantization: The quantisation of architectures; None is int4.
        threads: Number of threads; None is 1.
        lock_wait: See `Conditions`.
        device: The device to measure on, whose runtime and threads count instead; None is this
            machine.

    Raises:
        ValueError: An option is unknown or would have no effect, or the context of a model file is
            shorter than a workload needs.
    """
    if device is not None:
        for option, value in (("runtime", runtime), ("threads", threads)):
            if value is not None:
                raise ValueError(
                    f"{option}: '{value}' has no effect on the device '{device.name}'; its file of "
                    f"devices sets {option}"
                )
        runtime, threads = device.definition.runtime, device.definition.threads
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
        threads=threads or 1,
        lock_wait=lock_wait,
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
        if device is not None and file.model_format != conditions.model_format:
            raise ValueError(f"device: '{device.name}' has {runtime}, which cannot run {name}")
    for name, file in files:
        if file.context_length is not None and file.context_length < conditions.capacity:
            raise ValueError(
                f"workload: {conditions.capacity:,} tokens in total exceed "
                f"{file.context_length:,}, the context length of {name}"
            )
    return conditions


def format_of(model: Measurable, conditions: Conditions) -> ModelFormat:
    """Return the format of a model's file, or the one that an architecture is written in."""
    source = model.source
    return source.model_format if isinstance(source, ModelFile) else conditions.model_format


def _memory_needed(timing_budget: TimingBudget) -> tuple[bool, int, int]:
    """Return a key that sorts workloads by the memory that they need.

    Runtimes do not return memory. In this order, a workload's peak memory includes little that
    earlier workloads allocated.
    """
    workload = timing_budget.workload
    return workload.phase == "prefill", workload.depth + workload.tokens, workload.tokens


def _runner_with(runtime: str | None) -> RunnerDefinition:
    name = runtime or _DEFAULT_RUNTIME
    if name == _SIMULATED.runtime:  # only a device can have it
        return _SIMULATED
    if name not in REAL_RUNNERS:
        raise ValueError(f"runtime: '{runtime}' is not {one_of(list(REAL_RUNNERS))}")
    return REAL_RUNNERS[name]
