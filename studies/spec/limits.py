"""The limits of a study: the maximum of each limited score, and whether a candidate meets it.

A candidate is refused only if it is certain that a score is above its limit. Where the confidence
interval contains the limit, or the score is provisional, the candidate stays.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evaluators.calibration import WIDEST_SETTLED
from evaluators.evaluator import Score
from evaluators.scores import is_timed
from studies.spec.study_spec import StudySpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Whether a candidate meets the limits, as far as its scores are known.

    Attributes:
        exceeded: The scores that are certainly above their limits, with the lowest value that each
            may have.
        unsure: The names of the scores that may be above their limits.
        reason: A sentence that lists the scores in `exceeded`; None if there are none.
    """

    exceeded: Mapping[str, float]
    unsure: tuple[str, ...]
    reason: str | None


def limits(spec: StudySpec) -> dict[str, float]:
    """Return the maximum of every score that has one, objectives first."""
    most: dict[str, float] = {
        objective.name: objective.max for objective in spec.objectives if objective.max is not None
    }
    return most | {constraint.name: constraint.max for constraint in spec.constraints}


def judge(spec: StudySpec, scores: Iterable[Score]) -> Judgement:
    """Compare scores with the limits of a study.

    Args:
        spec: The study.
        scores: The scores of a candidate; those without a limit are ignored.
    """
    most = limits(spec)
    limited = [score for score in scores if score.name in most]
    above = [score for score in limited if _lowest(score) > most[score.name]]
    exceeded = {score.name: _lowest(score) for score in above}
    return Judgement(
        exceeded=exceeded,
        unsure=tuple(
            score.name
            for score in limited
            if score.name not in exceeded and _highest(score) > most[score.name]
        ),
        reason="; ".join(_sentence(score, most[score.name]) for score in above) or None,
    )


def excesses(spec: StudySpec, values: Mapping[str, float]) -> dict[str, float]:
    """Return how far each known score is above its limit, as a fraction of the limit.

    Args:
        spec: The study.
        values: The scores that are known, by name.

    Returns:
        The excess of every known score that has a limit. It is 0 or negative within the limit.
    """
    return {name: values[name] / most - 1 for name, most in limits(spec).items() if name in values}


def _lowest(score: Score) -> float:
    """Return the lowest value that a score may have; minus infinity if it decides nothing."""
    if score.provisional or score.reference_half_width > WIDEST_SETTLED:
        return -math.inf
    if score.low is None and is_timed(score.name):
        return -math.inf
    return score.value if score.low is None else score.low


def _highest(score: Score) -> float:
    return score.value if score.high is None else score.high


def _sentence(score: Score, most: float) -> str:
    interval = ""
    if score.low is not None and score.high is not None:
        interval = f" ({_digits(score.low)} to {_digits(score.high)})"
    return (
        f"{score.name}: {f'{_digits(score.value)}{interval} {score.unit}'.strip()} is above the "
        f"limit of {f'{_digits(most)} {score.unit}'.strip()}"
    )


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.4g}"
