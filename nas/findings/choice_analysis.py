"""Analyses which choices of a study matter, for the terminal, the dashboard and the report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nas.findings.choice_findings import (
    attention_count_findings,
    effect_findings,
    importance_finding,
    placement_findings,
)
from nas.findings.time_wording import provisional_among
from nas.findings.wording import counted, sentence
from studies.analysis.choice_effects import (
    MOST_CANDIDATES,
    ChoiceEffects,
    EffectCandidate,
    choice_effects,
    random_subset,
    trained_objective,
)
from studies.analysis.choice_importance import (
    FEED_FORWARD,
    FEWEST_TRIALS,
    Importances,
    importances,
)
from studies.analysis.followed_study import FollowedStudy
from studies.analysis.placement import (
    AttentionCount,
    Placement,
    attention_counts,
    placement,
    residuals_at_speed,
)
from studies.analysis.study_front import Axis, is_provisional
from studies.analysis.summaries import study_summary
from studies.records import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceAnalysis:
    """Which choices matter, in which direction, and where attention is.

    Attributes:
        trials: The number of complete candidates that the results are based on.
        note: Why there are no results, as a sentence; None if there are.
        axes: The objectives of the study.
        importances: The importances of the choices, by objective.
        placement: Where each mixer is used; None without results.
        attention: The effect of the number of attention layers, sorted by that number.
        effects: The effects on the first objective that comes from training; None without results
            or without such an objective.
        findings: What follows, in sentences.
    """

    trials: int
    note: str | None
    axes: tuple[Axis, ...]
    importances: tuple[tuple[str, Importances], ...] = ()
    placement: Placement | None = None
    attention: tuple[AttentionCount, ...] = ()
    effects: ChoiceEffects | None = None
    findings: tuple[str, ...] = ()


def analyse_choices(followed: FollowedStudy) -> ChoiceAnalysis:
    """Analyse the choices of a study; the same trials always give the same results.

    Candidates with a provisional objective are left out.

    Args:
        followed: The study as of its last read.

    Raises:
        ValueError: The database does not hold an architecture of the study, or it is damaged.
    """
    now = study_summary(followed)
    axes = now.front.axes
    provisional = provisional_among(now.complete, axes)
    ignored = {trial.id for trial in provisional}
    trials = [trial for trial in now.complete if trial.id not in ignored]
    left_out = (
        f"{counted(len(provisional), 'candidate', 'candidates')} with provisional times "
        f"{'is' if len(provisional) == 1 else 'are'} left out"
    )
    if len(trials) < FEWEST_TRIALS:
        note = (
            f"Estimating which choices matter requires at least {FEWEST_TRIALS} complete "
            f"candidates; there {'is' if len(trials) == 1 else 'are'} {len(trials)}"
            f"{f' ({left_out})' if provisional else ''}."
        )
        return ChoiceAnalysis(trials=len(trials), note=note, axes=axes)
    shapes = [followed.shapes[trial.model.hash] for trial in trials if trial.model is not None]
    columns = {axis.name: [trial.values[axis.name] for trial in trials] for axis in axes}
    generator = np.random.default_rng(0)
    solved = () if followed.spec.space.matched is None else (FEED_FORWARD,)
    found = tuple(
        (axis.name, importances(shapes, columns[axis.name], generator, solved)) for axis in axes
    )
    above = residuals_at_speed(columns[axes[0].name], columns[axes[1].name])
    places, counts = placement(shapes, above), attention_counts(shapes, above)
    effects = _effects(followed, trials)
    predicted = {effects.objective} if effects is not None and effects.is_predictable else set()
    has_attention = effects is not None and effects.more_attention is not None
    findings = (
        *(
            importance_finding(objective, each)
            for objective, each in found
            # Importances are fitted to half of the candidates, and may fail where the model works.
            if each.weights or objective not in predicted
        ),
        *(() if effects is None else effect_findings(effects)),
        # These do not take the other choices into account, as the model does.
        *(() if predicted else placement_findings(places, axes)),
        *(() if has_attention else attention_count_findings(counts, axes)),
        *([left_out] if provisional else []),
    )
    return ChoiceAnalysis(
        trials=len(trials),
        note=None,
        axes=axes,
        importances=found,
        placement=places,
        attention=counts,
        effects=effects,
        findings=tuple(map(sentence, findings)),
    )


def _effects(followed: FollowedStudy, trials: Sequence[Trial]) -> ChoiceEffects | None:
    objective = trained_objective(followed.spec)
    if objective is None:
        return None
    generator = np.random.default_rng(0)
    candidates = list(_candidates(followed, random_subset(trials, MOST_CANDIDATES, generator)))
    units = {score.name: score.unit for score in trials[0].scores}
    return choice_effects(followed.spec, candidates, objective, units[objective], generator)


def _candidates(followed: FollowedStudy, trials: Sequence[Trial]) -> Iterator[EffectCandidate]:
    for trial in trials:
        assert trial.model is not None
        # A time that the study does not ask for may be provisional, too.
        settled = [
            score
            for score in trial.scores
            if not score.provisional and not is_provisional(followed.spec, score)
        ]
        yield EffectCandidate(
            architecture=followed.architecture(trial.model.hash),
            values={score.name: score.value for score in settled},
        )
