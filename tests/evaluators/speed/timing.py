"""A latency evaluator with short timings, and runners for what may happen on a device."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.calibration import CalibrationsInMemory
from evaluators.evaluator import Evaluation, EvaluationFailed, Score
from evaluators.speed.latency import LatencyEvaluator
from evaluators.speed.latency_settings import LatencySettings
from hardware.fake import FakeRunner
from hardware.measurement import Workload
from hardware.quiet import Reservation
from hardware.runner import LoadedModel, RunnerError, Window
from search_space.architecture import Architecture
from tests.search_space.strategies import ATTENTION, CONV, stack

SETTINGS = LatencySettings(quantization="int4", prompt_length=8, context_depth=16, seconds=0.2)
REFERENCE = stack(CONV, ATTENTION)


def at_once(*_) -> contextlib.AbstractContextManager[Reservation]:
    return contextlib.nullcontext(Reservation(waited_s=12.0))


def evaluator_of(runner, settings=SETTINGS, *, reference=REFERENCE, calibrations=None):
    """Return an evaluator that does not wait for other programs, but reports a wait of 12 s."""
    store = CalibrationsInMemory() if calibrations is None else calibrations
    return LatencyEvaluator(runner, settings, reference, store, at_once)


def evaluate(evaluator: LatencyEvaluator, architecture: Architecture) -> Evaluation:
    return evaluator.evaluate(architecture, lambda _: None)


def by_name(evaluation: Evaluation) -> dict[str, Score]:
    return {score.name: score for score in evaluation.scores}


def refine(
    evaluator: LatencyEvaluator, architecture: Architecture, earlier: Evaluation
) -> Evaluation:
    return evaluator.refine(architecture, earlier, lambda _: None)


def failure(evaluator: LatencyEvaluator, architecture=REFERENCE) -> EvaluationFailed:
    with evaluator, pytest.raises(EvaluationFailed) as caught:
        evaluate(evaluator, architecture)
    return caught.value


class CountingRunner(FakeRunner):
    """Counts the models that it loads. The first `dying` reference models crash when timed."""

    def __init__(self, dying: int = 0) -> None:
        self.loaded = 0
        self.open = 0
        self.dying = dying

    @contextlib.contextmanager
    def load(self, model: Path, capacity: int) -> Iterator[LoadedModel]:
        with super().load(model, capacity) as loaded:
            self.loaded += 1
            self.open += 1
            try:
                # The reference is loaded before the candidate.
                yield Dying(loaded) if self.loaded in range(1, 2 * self.dying, 2) else loaded
            finally:
                self.open -= 1


class Dying:
    """A model that loads, but crashes in its first window."""

    def __init__(self, model: LoadedModel) -> None:
        self.loading = model.loading
        self.snapshot = model.snapshot
        self.move = model.move
        self.calmer_cores = model.calmer_cores

    def time(self, *_):
        self.snapshot = self.time
        raise RunnerError("crashed", "the last it said")


class SharedRunner(FakeRunner):
    """A device on which other programs may use the core of the measured models.

    Every sample then lasts twice as long, because the model waits for its core half of the time,
    and the model itself is slowed by `slowdown` as its caches are emptied.
    """

    def __init__(self, slowdown: float = 1.0) -> None:
        self.is_shared = True
        self.slowdown = slowdown

    @contextlib.contextmanager
    def load(self, model: Path, capacity: int) -> Iterator[LoadedModel]:
        with super().load(model, capacity) as loaded:
            yield Waiting(loaded, self)


class Waiting:
    """A model of a SharedRunner."""

    def __init__(self, model: LoadedModel, runner: SharedRunner) -> None:
        self._model = model
        self._runner = runner
        self.loading = model.loading
        self.snapshot = model.snapshot

    def move(self, cores: Sequence[int]) -> None:
        self._model.move(cores)

    def calmer_cores(self) -> Sequence[int] | None:
        return self._model.calmer_cores()

    def time(self, workload: Workload, samples: int) -> Window:
        window = self._model.time(workload, samples)
        if not self._runner.is_shared:
            return window
        running = [round(self._runner.slowdown * sample) for sample in window.samples_ns]
        return replace(
            window,
            samples_ns=tuple(2 * sample for sample in running),
            waited_ns=tuple(running),
        )
