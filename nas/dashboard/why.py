"""Builds the document that states which choices of a study matter."""

from evaluators.scores import LOSS
from nas.dashboard import why_form
from nas.dashboard.columns import exact_short, short
from nas.dashboard.why_form import Why
from nas.findings.choice_analysis import analyse_choices
from nas.findings.choice_findings import change_text, difference_text
from nas.findings.expected_loss_findings import (
    UNEXPECTED_MEANING,
    expected_loss_explanation,
    expected_text,
)
from studies.analysis.choice_effects import EFFECT_METHOD, ChoiceEffects
from studies.analysis.choice_importance import METHOD, Importances
from studies.analysis.expected_losses import expected_losses
from studies.analysis.followed_study import FollowedStudy
from studies.analysis.placement import AttentionCount, Placement
from studies.analysis.predicted_effects import Effect, PredictedDifference
from studies.analysis.summaries import study_summary


def why_document(followed: FollowedStudy) -> Why:
    """Return the document; the same trials always give the same one, because the seed is fixed.

    Candidates with a provisional objective are left out.
    """
    found = analyse_choices(followed)
    return {
        "study": followed.study.name,
        "trials": found.trials,
        "note": found.note,
        "method": METHOD,
        "objectives": [axis.name for axis in found.axes[:2]],
        "importances": [_importance(objective, each) for objective, each in found.importances],
        "placement": None if found.placement is None else _placement(found.placement),
        "attention": [_attention(count) for count in found.attention],
        "effects": None if found.effects is None else _effects(found.effects),
        "findings": list(found.findings),
        "expected_losses": _expected_losses(followed),
    }


def _expected_losses(followed: FollowedStudy) -> why_form.ExpectedLossesDocument | None:
    if followed.spec.proxy.method == "shared":
        return None
    trials = {
        trial.model.hash: trial
        for trial in study_summary(followed).complete
        if trial.model is not None and LOSS in trial.values
    }
    losses = {digest: trial.values[LOSS] for digest, trial in trials.items()}
    model = expected_losses(losses, followed.architecture)
    if model is None or not model.losses:
        return None
    found = model.losses.values()
    return {
        "explanation": f"{expected_loss_explanation(model)} {UNEXPECTED_MEANING}",
        "trial": [trials[digest].id for digest in model.losses],
        "expected": [exact_short(each.expected) for each in found],
        "half_width": [exact_short(each.half_width) for each in found],
        "text": [expected_text(each) for each in found],
        "unexpected": [each.is_unexpected for each in found],
    }


def _importance(objective: str, found: Importances) -> why_form.Importance:
    return {
        "objective": objective,
        "explained": exact_short(found.explained),
        "choices": [
            {
                "choice": weight.choice,
                "share": exact_short(weight.share),
                "low": exact_short(weight.low),
                "high": exact_short(weight.high),
            }
            for weight in found.weights
        ],
    }


def _placement(places: Placement) -> why_form.PlacementDocument:
    return {
        "letters": list(places.letters),
        "best": [[exact_short(each) for each in row] for row in places.best],
        "rest": [[exact_short(each) for each in row] for row in places.rest],
        "best_trials": places.best_count,
        "rest_trials": places.rest_count,
    }


def _attention(count: AttentionCount) -> why_form.AttentionCountDocument:
    return {
        "layers": count.layers,
        "trials": count.count,
        "difference": exact_short(count.difference),
        "low": short(count.low),
        "high": short(count.high),
    }


def _effects(found: ChoiceEffects) -> why_form.EffectsDocument:
    return {
        "objective": found.objective,
        "unit": found.unit,
        "method": EFFECT_METHOD,
        "candidates": found.candidates,
        "correlation": exact_short(found.correlation),
        "effects": [_effect(each) for each in found.all_effects],
    }


def _effect(effect: Effect) -> why_form.EffectDocument:
    summary = effect.summary
    return {
        "choice": effect.choice,
        "summary": effect.comparisons.index(summary),
        "distinguishable": summary.is_distinguishable,
        "comparisons": [_comparison(each) for each in effect.comparisons],
    }


def _comparison(each: PredictedDifference) -> why_form.ComparisonDocument:
    return {
        "change": change_text(each),
        "text": difference_text(each),
        "architectures": each.architectures,
        "difference": exact_short(each.difference),
        "low": exact_short(each.low),
        "high": exact_short(each.high),
    }
