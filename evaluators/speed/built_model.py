"""An architecture as the file that a runtime takes, built for as long as it is loaded there."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

from evaluators.evaluator import EvaluationFailed, FailureKind
from evaluators.scratch import scratch_folder
from hardware.runner import LoadedModel, ModelFormat, Runner, RunnerError, RunnerErrorKind
from search_space.architecture import Architecture
from search_space.quantization import Quantization

_FAILURES: dict[RunnerErrorKind, FailureKind] = {
    "out of memory": "out of memory",
    "refused": "build error",
    "crashed": "device lost",
    "timed out": "timed out",
}


def inexpressible(architecture: Architecture, model_format: ModelFormat) -> str | None:
    """What no file of this format can say of the architecture; None where there is nothing."""
    match model_format:
        case "onnx":
            return None
        case "gguf":
            from search_space.llama_cpp.family import unsupported_by_llama_cpp

            return unsupported_by_llama_cpp(architecture)
        case _:
            assert_never(model_format)


@contextlib.contextmanager
def loaded(
    runner: Runner, architecture: Architecture, quantization: Quantization, capacity: int
) -> Iterator[LoadedModel]:
    """The architecture with random weights on the runner's device, for `capacity` tokens.

    Its file is in a temporary folder until the context ends. Raises EvaluationFailed where it
    cannot be built, and RunnerError where it cannot be loaded.
    """
    with scratch_folder() as folder:
        try:
            path = _write(
                architecture, folder, runner.model_format, quantization, capacity=capacity
            )
        except ValueError as error:
            raise EvaluationFailed("build error", str(error)) from error
        except OSError as error:
            reason = f"{folder} cannot be written ({error.strerror})"
            raise EvaluationFailed("build error", reason) from error
        with runner.load(path, capacity) as model:
            yield model


def failure(error: RunnerError) -> EvaluationFailed:
    """As a result of the architecture that was measured."""
    return EvaluationFailed(_FAILURES[error.kind], error.reason)


def _write(
    architecture: Architecture,
    folder: Path,
    model_format: ModelFormat,
    quantization: Quantization,
    *,
    capacity: int,
) -> Path:
    """ValueError for what the format cannot hold."""
    # Either takes a while to import, and few need both.
    match model_format, quantization:
        case "onnx", "fp32" | "int8" | "int4":
            from search_space.onnx_model import write_onnx

            return write_onnx(
                architecture, folder, quantization=quantization, context_length=capacity
            )
        case "gguf", "fp16" | "int8" | "int4":
            from search_space.llama_cpp.gguf_file import write_gguf

            return write_gguf(
                architecture,
                folder / "model.gguf",
                quantization=quantization,
                context_length=capacity,
            )
        case _:
            raise ValueError(f"quantization: '{quantization}' is not one that {model_format} has")
