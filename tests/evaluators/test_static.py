"""Scores in closed form."""

import pytest

from evaluators.evaluator import Score
from evaluators.static import StaticEvaluator
from search_space.preset_models import preset
from tests.evaluators.conformance import EvaluatorConformance


class TestStaticEvaluator(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self):
        return StaticEvaluator()

    def test_a_published_model_has_its_published_size(self, evaluator):
        evaluation = evaluator.evaluate(preset("lfm2-350m"), lambda _: None)
        assert evaluation.scores == (
            Score(name="parameters", value=354_483_968, unit="parameters"),
        )
