"""Measuring models for `nas measure`: each in turns with one of them, which stays loaded."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from evaluators.evaluator import EvaluationFailed
from evaluators.model_file import inexpressible, loaded
from hardware.llama_cpp import LlamaCppRunner
from hardware.local import LocalRunner, idlest_cores
from hardware.quiet import measuring
from hardware.runner import LoadedModel, ModelFormat, Runner, RunnerError
from hardware.stability import Effort, measure_alone, measure_paired
from nas.comparison import Comparison, Failure, Measured
from nas.measurable import Measurable, ModelFile
from search_space.gguf import GgufQuantization
from search_space.mistakes import one_of
from search_space.onnx_graph import GraphQuantization
from search_space.quantization import QUANTIZATIONS, Quantization

Runtime: TypeAlias = Literal["onnxruntime", "llama.cpp"]
# Hears what is being done, and how that goes.
Watch: TypeAlias = Callable[[str, str], None]

_FORMATS: Mapping[Runtime, ModelFormat] = {"onnxruntime": "onnx", "llama.cpp": "gguf"}
_HELD: Mapping[ModelFormat, tuple[str, ...]] = {
    "onnx": get_args(GraphQuantization),
    "gguf": get_args(GgufQuantization),
}
_USUAL_RUNTIME: Runtime = "onnxruntime"
_USUAL_QUANTIZATION: Quantization = "int4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Under which all models are measured.

    model_format, quantization: what architectures are built as.
    """

    efforts: tuple[Effort, ...]
    model_format: ModelFormat
    quantization: Quantization
    threads: int

    @property
    def capacity(self) -> int:
        return max(effort.workload.tokens + effort.workload.depth for effort in self.efforts)


def conditions_of(
    models: Sequence[Measurable],
    efforts: Sequence[Effort],
    *,
    runtime: str | None,
    quantization: str | None,
    threads: int,
) -> Conditions:
    """For `models`, the reference too; None takes onnxruntime, and int4.

    ValueError for what is unknown, for what would be passed over, and for a file whose context is
    too short.
    """
    files = [model for model in models if isinstance(model.source, ModelFile)]
    known = _known(runtime)
    if len(files) == len(models):
        for name, value in (("runtime", runtime), ("quantization", quantization)):
            if value is not None and not (name == "runtime" and _runs_all(known, files)):
                raise ValueError(
                    f"{name}: '{value}' is for architectures, and all of these are model files, "
                    "which run as they are, .onnx in onnxruntime and .gguf in llama.cpp"
                )
    conditions = Conditions(
        efforts=tuple(dict.fromkeys(efforts)),
        model_format=_FORMATS[known],
        quantization=_known_quantization(known, quantization),
        threads=threads,
    )
    _check_contexts(files, conditions)
    return conditions


def measure_models(
    models: Sequence[Measurable],
    against: Measurable | None,
    conditions: Conditions,
    watch: Watch,
) -> Comparison:
    """Every workload of every model, each in turns with `against`, or else with the first that can
    be measured; a model that is on its own is measured alone.

    One that fails is among the failures. ValueError for what this machine lacks: cores, a program.
    """
    everything = [*models, *([] if against is None else [against])]
    bench = _Bench(conditions, {_format(model, conditions) for model in everything}, watch)
    patience_s = max(effort.seconds for effort in conditions.efforts)
    with measuring(lambda text: watch("the machine", text), patience_s=patience_s) as waited_s:
        turns = _Turns(bench, models)
        for reference in models if against is None else (against,):
            if not turns.measured:
                turns.take(reference, paired_with=against)
    return Comparison(
        efforts=conditions.efforts,
        quantization=conditions.quantization,
        reference=turns.reference,
        measured=tuple(turns.measured),
        failures=tuple(turns.failures.values()),
        waited_s=waited_s,
    )
