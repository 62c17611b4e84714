"""The tests that every Evaluator must pass, as a class to inherit."""

import math
import tempfile

import pytest

from evaluators.evaluator import Evaluator, Progress
from search_space.architecture import Architecture
from tests.search_space.strategies import ATTENTION, CONV, stack


class Stopped(Exception):
    """An exception that a study raises in a report to stop an evaluation."""


class EvaluatorConformance:
    """The contract of `Evaluator`. A subclass provides a fixture `evaluator` that is fast."""

    @pytest.fixture
    def evaluator(self) -> Evaluator:
        raise NotImplementedError

    @pytest.fixture
    def architecture(self) -> Architecture:
        return stack(CONV, ATTENTION, None)

    @pytest.fixture(autouse=True)
    def no_temporary_file_left(self, tmp_path, monkeypatch):
        folder = tmp_path / "temporary"
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        yield
        assert not list(folder.iterdir())

    def test_every_evaluation_has_the_scores_that_the_evaluator_names(
        self, evaluator, architecture
    ):
        evaluation = evaluator.evaluate(architecture, lambda _: None)
        assert tuple(score.name for score in evaluation.scores) == evaluator.score_names
        for score in evaluation.scores:
            assert math.isfinite(score.value)
            assert score.unit
            if score.low is not None or score.high is not None:
                assert score.low <= score.value <= score.high
        assert evaluation.seconds >= 0

    def test_the_stage_is_a_word(self, evaluator):
        assert evaluator.stage.isalpha()

    def test_an_evaluation_does_not_change_the_fingerprint(self, evaluator, architecture):
        before = evaluator.fingerprint
        evaluator.evaluate(architecture, lambda _: None)
        assert before
        assert evaluator.fingerprint == before

    def test_reported_progress_never_decreases(self, evaluator, architecture):
        reports: list[Progress] = []
        evaluator.evaluate(architecture, reports.append)
        fractions = [progress.done for progress in reports]
        assert fractions == sorted(fractions)
        assert all(0 <= fraction <= 1 for fraction in fractions)
        assert all(progress.text for progress in reports)

    def test_an_exception_in_a_report_ends_the_evaluation(self, evaluator, architecture):
        count = 0

        def stop(_: Progress) -> None:
            nonlocal count
            count += 1
            raise Stopped

        try:
            evaluator.evaluate(architecture, stop)
        except Stopped:
            assert count == 1
        else:
            assert count == 0  # the evaluation ended without a report
