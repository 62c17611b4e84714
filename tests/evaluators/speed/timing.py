"""A latency evaluator with short timings, and a runner that counts the models that it loads."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluators.cache import NoCache
from evaluators.evaluator import Evaluation, EvaluationFailed
from evaluators.speed.latency import LatencyEvaluator, LatencySettings
from hardware.fake import FakeRunner
from hardware.runner import LoadedModel, RunnerError
from search_space.architecture import Architecture
from tests.search_space.strategies import ATTENTION, CONV, stack

SETTINGS = LatencySettings(quantization="int4", prompt_length=8, context_depth=16, seconds=0.2)
REFERENCE = stack(CONV, ATTENTION)


def at_once(*_) -> contextlib.AbstractContextManager[float]:
    return contextlib.nullcontext(12.0)


def evaluator_of(runner, settings=SETTINGS, *, reference=REFERENCE, cache=None):
    """Return an evaluator that does not wait for other programs, but reports a wait of 12 s."""
    return LatencyEvaluator(runner, settings, reference, cache or NoCache(), at_once)


def evaluate(evaluator: LatencyEvaluator, architecture: Architecture) -> Evaluation:
    return evaluator.evaluate(architecture, lambda _: None)


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

    def time(self, *_):
        self.snapshot = self.time
        raise RunnerError("crashed", "the last it said")
