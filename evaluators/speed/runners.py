"""The table of runners: the model format and the quantisations that each one supports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias, assert_never

from hardware.cores import idlest_cores
from hardware.runner import ModelFormat, Runner
from search_space.quantization import Quantization

RunnerKind: TypeAlias = Literal["local", "llama.cpp", "fake"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerDefinition:
    """A runner's capabilities. `make_runner` constructs the runner.

    Attributes:
        kind: The name in a study file, under `[device] runner`.
        runtime: The name of the runtime, as in `nas measure --runtime`.
        model_format: The format of the model files that it loads.
        quantizations: The quantisations that the runtime has kernels for.
        is_simulated: Whether times come from a formula instead of a device.
    """

    kind: RunnerKind
    runtime: str
    model_format: ModelFormat
    quantizations: tuple[Quantization, ...]
    is_simulated: bool = False


# onnxruntime's CPU provider has no kernels for fp16, and llama.cpp gains nothing from fp32.
RUNNERS: Mapping[RunnerKind, RunnerDefinition] = MappingProxyType(
    {
        definition.kind: definition
        for definition in (
            RunnerDefinition(
                kind="local",
                runtime="onnxruntime",
                model_format="onnx",
                quantizations=("fp32", "int8", "int4"),
            ),
            RunnerDefinition(
                kind="llama.cpp",
                runtime="llama.cpp",
                model_format="gguf",
                quantizations=("fp16", "int8", "int4"),
            ),
            RunnerDefinition(
                kind="fake",
                runtime="fake",
                model_format="onnx",
                quantizations=("fp32", "int8", "int4"),
                is_simulated=True,
            ),
        )
    }
)


def make_runner(
    kind: RunnerKind,
    *,
    threads: int,
    llama_bench: Path | None = None,
    choose_cores: Callable[[int], list[int]] = idlest_cores,
) -> Runner:
    """Construct a runner. All runners are constructed here.

    Args:
        kind: One of `RUNNERS`.
        threads: Threads that a model computes with, each on a core of its own.
        llama_bench: The path of the program `llama-bench`, for llama.cpp; None searches the PATH.
        choose_cores: A function that chooses the given number of cores to measure on.

    Raises:
        ValueError: This machine has too few cores, or a program is missing.
    """
    # Each runner takes a while to import, and no command needs all of them.
    match kind:
        case "local":
            from hardware.local import LocalRunner

            return LocalRunner(threads=threads, choose_cores=choose_cores)
        case "llama.cpp":
            from hardware.llama_cpp import LlamaCppRunner

            return LlamaCppRunner(llama_bench, threads=threads, choose_cores=choose_cores)
        case "fake":
            from hardware.fake import FakeRunner

            return FakeRunner()
        case _:
            assert_never(kind)
