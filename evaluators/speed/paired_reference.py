"""The reference model that candidates are timed against, kept loaded on the device."""

import contextlib
from collections.abc import Callable
from typing import TypeVar

from evaluators.evaluator import EvaluationFailed
from evaluators.speed.built_model import build_and_load, evaluation_failure
from hardware.progress import Say
from hardware.runner import MOST_KILLS, LoadedModel, Runner, RunnerError
from search_space.architecture import Architecture
from search_space.quantization import Quantization

T = TypeVar("T")

# A model that takes more than this fraction of the machine's memory is unloaded between two
# candidates, while the machine trains.
_KEPT_FRACTION = 0.25


class ReferenceModel:
    """One architecture on one device, kept loaded so that candidates can be timed against it.

    It is loaded when it is first needed, and loaded again if its process has died. Close it at the
    end.

    Attributes:
        architecture: The architecture of the model.
    """

    def __init__(
        self,
        runner: Runner,
        architecture: Architecture,
        quantization: Quantization,
        capacity: int,
    ) -> None:
        """Describe the model; it is not loaded yet.

        Args:
            runner: The device.
            architecture: The architecture of the model.
            quantization: The quantisation of its weights.
            capacity: The number of tokens that its caches have room for.
        """
        self.architecture = architecture
        self._runner = runner
        self._quantization = quantization
        self._capacity = capacity
        self._model: LoadedModel | None = None
        self._most_kept_bytes = 0.0
        self._open = contextlib.ExitStack()

    def run(self, work: Callable[[LoadedModel], T], remark: Say) -> T:
        """Call a function with the loaded reference model and return its result.

        If the reference model dies, the function is called once more, unless the connection to the
        device was lost: the device must then be reserved again. If another program kills the
        process of either model, the function is called up to `MOST_KILLS` more times. As long as
        the reference model is alive, a RunnerError of the function is attributed to the candidate.

        Args:
            work: Times a candidate, or the reference model alone.
            remark: Receives a sentence whenever another program has killed a process.

        Raises:
            EvaluationFailed: The candidate failed, or the reference model died too often.
        """
        deaths = kills = 0
        while True:
            try:
                return work(self._loaded())
            except RunnerError as error:
                is_alive = self._is_alive()
                whose = "the candidate's process" if is_alive else "the reference model's process"
                if error.kind == "killed" and kills < MOST_KILLS:
                    kills += 1
                    remark(f"{whose} was killed, so its measurement was repeated: {error.reason}")
                elif is_alive or error.kind == "lost":
                    raise evaluation_failure(error) from error
                elif error.kind == "killed":
                    raise EvaluationFailed("killed", f"{whose}: {error.reason}") from error
                elif deaths:
                    reason = f"the reference model: {error}"
                    raise EvaluationFailed("device lost", reason) from error
                else:
                    deaths += 1

    def unload_if_large(self) -> None:
        """Free the memory of a large model until the next candidate."""
        if (
            self._model is not None
            and self._model.loading.loaded_memory_bytes > self._most_kept_bytes
        ):
            self.close()

    def close(self) -> None:
        """End the model's process. The model is loaded again if it is needed again."""
        self._model = None
        self._open.close()

    def _loaded(self) -> LoadedModel:
        if self._model is None:
            self._model = self._open.enter_context(
                build_and_load(self._runner, self.architecture, self._quantization, self._capacity)
            )
            memory_bytes = self._model.snapshot().environment.memory_bytes
            self._most_kept_bytes = _KEPT_FRACTION * memory_bytes
        return self._model

    def _is_alive(self) -> bool:
        """Return whether the model's process still answers; close the model if it does not."""
        if self._model is None:
            return False
        try:
            self._model.snapshot()
        except RunnerError:
            self.close()
            return False
        return True
