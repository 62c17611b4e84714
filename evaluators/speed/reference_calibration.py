"""The reference model that candidates are timed against, and its calibration on a device."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from evaluators.cache import Cached, EvaluationCache
from evaluators.evaluator import Evaluation, EvaluationFailed, Progress, Report
from evaluators.speed.built_model import build_and_load, evaluation_failure
from hardware.measurement import Measurement, Workload
from hardware.runner import LoadedModel, Runner, RunnerError
from hardware.stability import TimingBudget, measure_alone
from search_space.architecture import Architecture
from search_space.quantization import Quantization

T = TypeVar("T")

# Increase this whenever a calibration would lead to another time.
_VERSION = 2
# Long enough to contain undisturbed windows, from which the time is taken. The precision is too
# small to end a calibration earlier, because an interval does not account for drift.
_CALIBRATION_SECONDS = 8.0
_CALIBRATION_PRECISION = 0.001
# A model that takes more than this fraction of the machine's memory is unloaded between two
# candidates, while the machine trains.
_KEPT_FRACTION = 0.25


class ReferenceModel:
    """One architecture on one device, kept loaded so that candidates can be timed against it.

    It is loaded when it is first needed, and loaded again if its process has died. Close it at the
    end.

    Attributes:
        architecture: The architecture of the model.
        cores: The cores that it runs on, or last ran on; empty before it is first loaded.
    """

    def __init__(
        self,
        runner: Runner,
        architecture: Architecture,
        quantization: Quantization,
        capacity: int,
        cache: EvaluationCache,
    ) -> None:
        """Describe the model; it is not loaded yet.

        Args:
            runner: The device.
            architecture: The architecture of the model.
            quantization: The quantisation of its weights.
            capacity: The number of tokens that its caches have room for.
            cache: Stores the calibrations.
        """
        self.architecture = architecture
        self.cores: tuple[int, ...] = ()
        self._runner = runner
        self._quantization = quantization
        self._capacity = capacity
        self._cache = cache
        self._model: LoadedModel | None = None
        self._most_kept_bytes = 0.0
        self._open = contextlib.ExitStack()

    @property
    def calibration_version(self) -> str:
        """A text that changes whenever a calibration would lead to another time."""
        return f"calibration {_VERSION} {_CALIBRATION_SECONDS:g} s"

    def run(self, work: Callable[[LoadedModel], T]) -> T:
        """Call a function with the loaded reference model and return its result.

        If the reference model dies, it is loaded again and the function is called a second time. As
        long as the reference model is alive, a RunnerError of the function is attributed to the
        candidate.

        Args:
            work: Times a candidate, or the reference model alone.

        Raises:
            EvaluationFailed: The candidate failed, or the reference model died twice.
        """
        try:
            return work(self._loaded())
        except RunnerError as error:
            if self._is_alive():
                raise evaluation_failure(error) from error
        try:
            return work(self._loaded())
        except RunnerError as error:
            if self._is_alive():
                raise evaluation_failure(error) from error
            raise EvaluationFailed("device lost", f"the reference model: {error}") from error

    def calibrate(self, workload: Workload, report: Report) -> Measurement:
        """Return a measurement of the reference model alone.

        It is measured once per device, quantisation and workload, and then read from the cache.

        Args:
            workload: The workload to time.
            report: Receives the progress.

        Raises:
            EvaluationFailed: The reference model cannot be built, loaded or timed.
        """
        calibration = _Calibration(
            reference=self,
            workload=workload,
            fingerprint=f"{self.calibration_version} {workload} {self._quantization} "
            f"{self._runner.fingerprint}",
        )
        evaluator = Cached(evaluator=calibration, cache=self._cache)
        (measurement,) = evaluator.evaluate(self.architecture, report).measurements
        return measurement

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
            self.cores = self._model.loading.cores
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calibration:
    """The Evaluator behind `calibrate`: it has no scores, only one measurement."""

    reference: ReferenceModel
    workload: Workload
    fingerprint: str
    stage: str = "calibration"
    score_names: tuple[str, ...] = ()

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        start = time.monotonic()
        timing_budget = TimingBudget(
            workload=self.workload,
            precision=_CALIBRATION_PRECISION,
            seconds=_CALIBRATION_SECONDS,
        )

        def say(text: str) -> None:
            done = min(1.0, (time.monotonic() - start) / _CALIBRATION_SECONDS)
            report(Progress(done=done, text=f"calibrating the reference model: {text}"))

        measurements = self.reference.run(lambda model: measure_alone(model, [timing_budget], say))
        return Evaluation(
            scores=(), seconds=time.monotonic() - start, measurements=tuple(measurements)
        )
