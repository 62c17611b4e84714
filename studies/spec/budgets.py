"""The budgets of a study: the maximum of each limited score, and which ones a candidate exceeds."""

from collections.abc import Iterable, Mapping

from evaluators.evaluator import Score
from studies.spec.study_spec import StudySpec


def budgets(spec: StudySpec) -> dict[str, float]:
    """Return the maximum of every score that has one, objectives first."""
    most: dict[str, float] = {
        objective.name: objective.max for objective in spec.objectives if objective.max is not None
    }
    return most | {constraint.name: constraint.max for constraint in spec.constraints}


def over_budget(spec: StudySpec, scores: Iterable[Score]) -> str | None:
    """Return a sentence that lists the scores above their budgets, or None if no score is."""
    most = budgets(spec)
    return (
        "; ".join(
            f"{score.name}: {_number(score.value, score.unit)} is above the budget of "
            f"{_number(most[score.name], score.unit)}"
            for score in scores
            if score.name in most and score.value > most[score.name]
        )
        or None
    )


def excesses(spec: StudySpec, values: Mapping[str, float]) -> dict[str, float]:
    """Return how far each known score is above its budget, as a fraction of the budget.

    Args:
        spec: The study.
        values: The scores that are known, by name.

    Returns:
        The excess of every known score that has a budget. It is 0 or negative within the budget.
    """
    return {name: values[name] / most - 1 for name, most in budgets(spec).items() if name in values}


def _number(value: float, unit: str) -> str:
    digits = f"{value:,.0f}" if value == round(value) else f"{value:,.4g}"
    return f"{digits} {unit}".strip()
