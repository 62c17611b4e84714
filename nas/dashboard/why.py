"""Builds the document that states which choices of a study matter."""

from collections.abc import Iterator, Sequence

import numpy as np

from nas.dashboard import why_form
from nas.dashboard.columns import exact_short, short
from nas.dashboard.why_form import Why
from nas.findings.time_wording import provisional_among
from nas.findings.wording import counted, joined, percent, sentence
from search_space.architecture import ATTENTION_LETTERS
from studies.analysis.choice_importance import (
    FEED_FORWARD,
    FEWEST_TRIALS,
    METHOD,
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
from studies.analysis.study_front import Axis
from studies.analysis.summaries import study_summary

_NAMED_CHOICES = 3
_LOW_EXPLAINED = 0.3


def why_document(followed: FollowedStudy) -> Why:
    """Return the document; the same trials always give the same one, because the seed is fixed.

    Candidates with a provisional objective are left out.
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
    document: Why = {
        "study": followed.study.name,
        "trials": len(trials),
        "note": None,
        "method": METHOD,
        "objectives": [axis.name for axis in axes[:2]],
        "importances": [],
        "placement": None,
        "attention": [],
        "findings": [],
    }
    if len(trials) < FEWEST_TRIALS:
        document["note"] = (
            f"Estimating which choices matter requires at least {FEWEST_TRIALS} complete "
            f"candidates; there {'is' if len(trials) == 1 else 'are'} {len(trials)}"
            f"{f' ({left_out})' if provisional else ''}."
        )
        return document
    shapes = [followed.shapes[trial.model.hash] for trial in trials if trial.model is not None]
    columns = {axis.name: [trial.values[axis.name] for trial in trials] for axis in axes}
    generator = np.random.default_rng(0)
    solved = () if followed.spec.space.matched is None else (FEED_FORWARD,)
    document["importances"] = [
        _importance(axis.name, importances(shapes, columns[axis.name], generator, solved))
        for axis in axes
    ]
    above = residuals_at_speed(columns[axes[0].name], columns[axes[1].name])
    places, counts = placement(shapes, above), attention_counts(shapes, above)
    document["placement"] = _placement(places)
    document["attention"] = [_attention(count) for count in counts]
    document["findings"] = [
        sentence(finding)
        for finding in (
            *map(_importance_finding, document["importances"]),
            *_placement_findings(places, axes),
            *_attention_findings(counts, axes),
            *([left_out] if provisional else []),
        )
    ]
    return document


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


def _importance_finding(importance: why_form.Importance) -> str:
    objective, explained = importance["objective"], importance["explained"]
    if not importance["choices"]:
        return f"{objective} cannot be predicted from the choices"
    named = [
        f"{each['choice']} ({percent(each['low'])} to {percent(each['high'])}"
        f"{'' if place else ' of the total importance'})"
        for place, each in enumerate(importance["choices"][:_NAMED_CHOICES])
    ]
    doubt = ", which is low" if explained < _LOW_EXPLAINED else ""
    return (
        f"{objective} depends most on {joined(named)}; "
        f"all choices together explain {percent(explained)} of its variance{doubt}"
    )


def _placement_findings(places: Placement, axes: Sequence[Axis]) -> Iterator[str]:
    rows = [row for row, letter in enumerate(places.letters) if letter in ATTENTION_LETTERS]
    if not rows:
        return
    half = len(places.best[0]) // 2

    def attention_share(shares: Sequence[Sequence[float]], tenths: slice) -> float:
        return sum(float(np.mean(shares[row][tenths])) for row in rows)

    first, second = slice(half), slice(half, None)
    yield (
        f"in the best fifth of the layouts (lowest {axes[0].name} at equal {axes[1].name}), "
        f"attention makes up {percent(attention_share(places.best, first))} of the first half of "
        f"the layers and {percent(attention_share(places.best, second))} of the second half; in "
        f"the other layouts, it makes up {percent(attention_share(places.rest, first))} and "
        f"{percent(attention_share(places.rest, second))}"
    )


def _attention_findings(counts: Sequence[AttentionCount], axes: Sequence[Axis]) -> Iterator[str]:
    """Compare the best and the worst number of attention layers."""
    known = [count for count in counts if count.low is not None and count.high is not None]
    if len(known) < 2:
        return
    least = min(known, key=lambda count: count.difference)
    most = max(known, key=lambda count: count.difference)
    assert least.high is not None
    assert most.low is not None
    if least.high >= most.low:
        yield (
            f"at equal {axes[1].name}, any effect of the number of attention layers on "
            f"{axes[0].name} is within the noise"
        )
        return
    unit = axes[0].unit
    yield (
        f"at equal {axes[1].name}, {axes[0].name} is lowest with {_layers(least)}: "
        f"{_span(least)} {unit} relative to the typical value (95 % confidence interval). It is "
        f"highest with {_layers(most)}: {_span(most)}"
    )


def _layers(count: AttentionCount) -> str:
    trials = counted(count.count, "candidate", "candidates")
    return f"{counted(count.layers, 'attention layer', 'attention layers')} ({trials})"


def _span(count: AttentionCount) -> str:
    return f"{count.low:+.2g} to {count.high:+.2g}"
