"""Contexts for work with torch, which pauses for measurements and in which memory may run out."""

import contextlib
from collections.abc import Iterator

import torch

from evaluators.evaluator import EvaluationFailed
from evaluators.training.torch_device import keep_freed_memory, torch_threads
from evaluators.training.training_settings import TrainingSettings
from hardware.progress import Say
from hardware.quiet import YieldToMeasurements, yielding_to_measurements


@contextlib.contextmanager
def computing(settings: TrainingSettings, say: Say) -> Iterator[YieldToMeasurements]:
    """Set up torch for training or scoring, and let measurements on this machine interrupt it.

    Args:
        settings: The number of threads and the longest pause.
        say: Receives a line about every pause for a measurement.

    Yields:
        A function to call between any two steps or forward passes. It blocks while something is
        measured on this machine and returns the seconds that this took.
    """
    keep_freed_memory()
    with (
        torch_threads(settings.threads),
        yielding_to_measurements(say, longest_wait=settings.longest_pause) as yield_to_measurements,
    ):
        yield yield_to_measurements


@contextlib.contextmanager
def memory_errors_as_results() -> Iterator[None]:
    """Turn an out-of-memory error of torch or Python into a failed evaluation.

    Raises:
        EvaluationFailed: Memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        torch.cuda.empty_cache()
        reason = str(error).partition("\n")[0].rpartition("DefaultCPUAllocator: ")[2]
        raise EvaluationFailed("out of memory", reason) from error


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or the error that it followed, says that memory ran out.

    A CUDA graph whose recording runs out of memory ends with another error.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if "DefaultCPUAllocator" in str(error):  # a plain RuntimeError on a CPU
        return True
    return error.__context__ is not None and _is_out_of_memory(error.__context__)
