"""The model that candidates are timed beside: loaded once, calibrated once, kept between them."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from evaluators.cache import Cached, EvaluationCache
from evaluators.evaluator import Evaluation, EvaluationFailed, Progress, Report
from evaluators.speed.built_model import failure, loaded
from hardware.measurement import Measurement, Workload
from hardware.runner import LoadedModel, Runner, RunnerError
from hardware.stability import TimingBudget, measure_alone
from search_space.architecture import Architecture
from search_space.quantization import Quantization

T = TypeVar("T")

# Raise it when a calibration would come to another figure.
_VERSION = 2
# In so long there are good windows, by which it counts; the precision, which does not know of
# drift, is not to end it earlier.
_CALIBRATION_SECONDS = 8.0
_CALIBRATION_PRECISION = 0.001
# Between two candidates, while the machine trains, a larger share of its memory is given back.
_KEPT_SHARE = 0.25


class Reference:
    """One architecture on one device, ready for `capacity` tokens whenever it is asked for.

    Loaded when first needed; loaded again where its process has died. To be closed.

    cores: those that it runs on, or last ran on; empty before it was loaded.
    """

    def __init__(
        self,
        runner: Runner,
        architecture: Architecture,
        quantization: Quantization,
        capacity: int,
        memory: EvaluationCache,
    ) -> None:
        self.architecture = architecture
        self.cores: tuple[int, ...] = ()
        self._runner = runner
        self._quantization = quantization
        self._capacity = capacity
        self._memory = memory
        self._model: LoadedModel | None = None
        self._most_kept = 0.0
        self._held = contextlib.ExitStack()

    @property
    def calibration(self) -> str:
        """Changes whenever `calibrated` would come to another figure on the same device."""
        return f"calibration {_VERSION} {_CALIBRATION_SECONDS:g} s"

    def beside(self, work: Callable[[LoadedModel], T]) -> T:
        """What `work` makes of the loaded reference, at a second try where the first one died.

        A RunnerError of `work` is taken for the candidate's while the reference lives. Raises
        EvaluationFailed.
        """
        try:
            return work(self._loaded())
        except RunnerError as error:
            if self._is_alive():
                raise failure(error) from error
        try:
            return work(self._loaded())
        except RunnerError as error:
            if self._is_alive():
                raise failure(error) from error
            raise EvaluationFailed("device lost", f"the reference model: {error}") from error

    def calibrated(self, workload: Workload, report: Report) -> Measurement:
        """The reference alone, measured once for each device and workload, and then remembered."""
        calibration = _Calibration(
            reference=self,
            workload=workload,
            fingerprint=f"{self.calibration} {workload} {self._quantization} "
            f"{self._runner.fingerprint}",
        )
        evaluator = Cached(evaluator=calibration, memory=self._memory)
        (measurement,) = evaluator.evaluate(self.architecture, report).measurements
        return measurement

    def rest(self) -> None:
        """Until the next candidate: gives its memory back where that is much."""
        if self._model is not None and self._model.loading.loaded_memory_bytes > self._most_kept:
            self.close()

    def close(self) -> None:
        self._model = None
        self._held.close()

    def _loaded(self) -> LoadedModel:
        if self._model is None:
            self._model = self._held.enter_context(
                loaded(self._runner, self.architecture, self._quantization, self._capacity)
            )
            self.cores = self._model.loading.cores
            memory_bytes = self._model.snapshot().environment.memory_bytes
            self._most_kept = _KEPT_SHARE * memory_bytes
        return self._model

    def _is_alive(self) -> bool:
        """Whether it still answers; one that does not is dropped."""
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
    """The Evaluator behind `calibrated`: what it finds is its one measurement."""

    reference: Reference
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
            report(Progress(done=done, text=f"the reference model alone, once: {text}"))

        measurements = self.reference.beside(
            lambda model: measure_alone(model, [timing_budget], say)
        )
        return Evaluation(
            scores=(), seconds=time.monotonic() - start, measurements=tuple(measurements)
        )
