"""The reference model: when it is loaded and unloaded, and what happens if it dies."""

import pytest

from tests.evaluators.speed.timing import (
    CountingRunner,
    evaluate,
    evaluator_of,
    failure,
)
from tests.search_space.strategies import CORNERS


def test_it_is_loaded_once_for_all_candidates():
    runner = CountingRunner()
    with evaluator_of(runner) as evaluator:
        assert runner.loaded == 0  # because it may not be needed
        for name in ("one layer", "no attention", "only windows"):
            evaluate(evaluator, CORNERS[name])
        assert runner.loaded == 1 + 3
        assert runner.open == 1
    assert runner.open == 0


def test_a_large_model_is_loaded_for_each_candidate(monkeypatch):
    monkeypatch.setattr("evaluators.speed.paired_reference._KEPT_FRACTION", 0.0)
    runner = CountingRunner()
    with evaluator_of(runner) as evaluator:
        for name in ("one layer", "no attention"):
            evaluate(evaluator, CORNERS[name])
            assert runner.open == 0
    assert runner.loaded == 2 + 2


def test_a_model_that_dies_is_loaded_once_more():
    runner = CountingRunner(dying=1)
    with evaluator_of(runner) as evaluator:
        assert evaluate(evaluator, CORNERS["one layer"]).scores
    assert runner.loaded == 4
    assert runner.open == 0


def test_a_model_that_dies_twice_is_a_lost_device():
    runner = CountingRunner(dying=2)
    error = failure(evaluator_of(runner))
    assert error.kind == "device lost"
    assert error.reason == "the reference model: crashed: the last it said"
    assert runner.open == 0


def test_it_is_closed_when_a_study_is_interrupted():
    runner = CountingRunner()

    def stop(progress):
        if "pairs" in progress.text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), evaluator_of(runner) as evaluator:
        evaluator.evaluate(CORNERS["one layer"], stop)
    assert runner.loaded == 2
    assert runner.open == 0
