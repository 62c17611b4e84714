"""Scores in closed form, which cost nothing: they come first."""

from evaluators.evaluator import Evaluation, Report, Score
from search_space.architecture import Architecture
from search_space.costs import parameter_counts


class StaticEvaluator:
    """`parameters`, counted as published models count theirs: a tied head once."""

    stage = "costs"
    fingerprint = "costs 1"
    score_names = ("parameters",)

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        total = parameter_counts(architecture).total
        return Evaluation(
            scores=(Score(name="parameters", value=float(total), unit="parameters"),), seconds=0.0
        )
