"""The model file of an architecture, which is built for as long as a runner has it loaded."""

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
    "killed": "killed",
    "timed out": "timed out",
    "lost": "device lost",
}


def unsupported_by_format(architecture: Architecture, model_format: ModelFormat) -> str | None:
    """Return what a model format cannot represent of an architecture, or None if it can be written.

    Args:
        architecture: The architecture to deploy.
        model_format: The format that the runtime loads.
    """
    match model_format:
        case "onnx":
            return None
        case "gguf":
            from search_space.llama_cpp.family import unsupported_by_llama_cpp

            return unsupported_by_llama_cpp(architecture)
        case _:
            assert_never(model_format)


@contextlib.contextmanager
def build_and_load(
    runner: Runner, architecture: Architecture, quantization: Quantization, capacity: int
) -> Iterator[LoadedModel]:
    """Build an architecture's model file with random weights and load it on a device.

    The file is in a temporary folder until the context ends.

    Args:
        runner: The device.
        architecture: The architecture to build.
        quantization: The quantisation of the weights.
        capacity: The number of tokens that the model's caches have room for.

    Yields:
        The loaded model.

    Raises:
        EvaluationFailed: The model file cannot be built or written.
        RunnerError: The model file cannot be loaded.
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


def evaluation_failure(error: RunnerError) -> EvaluationFailed:
    """Convert a runner's error to the failure that is stored for the measured architecture."""
    return EvaluationFailed(_FAILURES[error.kind], error.reason)


def _write(
    architecture: Architecture,
    folder: Path,
    model_format: ModelFormat,
    quantization: Quantization,
    *,
    capacity: int,
) -> Path:
    """Write the model file and return its path; raise ValueError if the format cannot hold it."""
    # Both take a while to import, and few programs need both.
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
            raise ValueError(f"quantization: '{quantization}' is not supported by {model_format}")
