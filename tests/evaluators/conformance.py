"""What every Evaluator promises, as a class to inherit: a subclass says how one is made."""

import math
import tempfile

import pytest

from evaluators.evaluator import Evaluator, Progress
from search_space.architecture import Architecture
from tests.search_space.strategies import ATTENTION, CONV, stack


class Stopped(Exception):
    """What a study raises out of a report to stop an evaluation."""


class EvaluatorConformance:
    """Inherit it, and give an `evaluator` fixture that works for a moment only."""

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

    def test_every_evaluation_carries_the_scores_it_names(self, evaluator, architecture):
        evaluation = evaluator.evaluate(architecture, lambda _: None)
        assert tuple(score.name for score in evaluation.scores) == evaluator.score_names
        for score in evaluation.scores:
            assert math.isfinite(score.value)
            assert score.unit
            if score.low is not None or score.high is not None:
                assert score.low <= score.value <= score.high
        assert evaluation.seconds >= 0

    def test_its_stage_is_a_word(self, evaluator):
        assert evaluator.stage.isalpha()

    def test_its_fingerprint_stays_while_nothing_changes(self, evaluator, architecture):
        before = evaluator.fingerprint
        evaluator.evaluate(architecture, lambda _: None)
        assert before
        assert evaluator.fingerprint == before

    def test_it_tells_how_far_it_is(self, evaluator, architecture):
        told: list[Progress] = []
        evaluator.evaluate(architecture, told.append)
        shares = [progress.done for progress in told]
        assert shares == sorted(shares)
        assert all(0 <= share <= 1 for share in shares)
        assert all(progress.text for progress in told)

    def test_what_a_report_raises_ends_it(self, evaluator, architecture):
        told = 0

        def stop(_: Progress) -> None:
            nonlocal told
            told += 1
            raise Stopped

        try:
            evaluator.evaluate(architecture, stop)
        except Stopped:
            assert told == 1
        else:
            assert told == 0  # it is done before there is anything to tell
