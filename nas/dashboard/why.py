"""Which choices of a study matter: what the page asks for once the first picture stands."""

from collections.abc import Iterator, Sequence

import numpy as np

from nas.dashboard import form
from nas.dashboard.columns import exact_short, short
from nas.dashboard.form import Why
from nas.dashboard.wording import counted, joined, sentence, share
from studies.analysis import Axis, standing
from studies.choices import FEED_FORWARD, FEWEST_TRIALS, METHOD, Importances, importances
from studies.following import Followed
from studies.placement import (
    AttentionCount,
    Placement,
    above_usual,
    attention_counts,
    placement,
)

_NAMED_CHOICES = 3
_FORETELLS_LITTLE = 0.3
_ATTENTION = "as"


def why_document(followed: Followed) -> Why:
    """Equal for equal trials: chance has a fixed seed."""
    now = standing(followed)
    trials, axes = now.complete, now.front.axes
    document: Why = {
        "study": followed.study.name,
        "trials": len(trials),
        "said": None,
        "method": METHOD,
        "equal": [axis.name for axis in axes[:2]],
        "importances": [],
        "places": None,
        "attention": [],
        "findings": [],
    }
    if len(trials) < FEWEST_TRIALS:
        document["said"] = (
            f"Which choices matter is told from {FEWEST_TRIALS} complete candidates on; "
            f"there {'is' if len(trials) == 1 else 'are'} {len(trials)}."
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
    above = above_usual(columns[axes[0].name], columns[axes[1].name])
    places, counts = placement(shapes, above), attention_counts(shapes, above)
    document["places"] = _places(places)
    document["attention"] = [_attention(count) for count in counts]
    document["findings"] = [
        sentence(said)
        for said in (
            *map(_said, document["importances"]),
            *_placed(places, axes),
            *_counted(counts, axes),
        )
    ]
    return document


def _importance(objective: str, found: Importances) -> form.Importance:
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


def _places(places: Placement) -> form.Places:
    return {
        "letters": list(places.letters),
        "best": [[exact_short(each) for each in row] for row in places.best],
        "rest": [[exact_short(each) for each in row] for row in places.rest],
        "best_trials": places.best_count,
        "rest_trials": places.rest_count,
    }


def _attention(count: AttentionCount) -> form.AttentionCount:
    return {
        "layers": count.layers,
        "trials": count.count,
        "difference": exact_short(count.difference),
        "low": short(count.low),
        "high": short(count.high),
    }


def _said(importance: form.Importance) -> str:
    objective, explained = importance["objective"], importance["explained"]
    if not importance["choices"]:
        return f"{objective}: the choices foretell nothing of it"
    named = [
        f"{each['choice']} ({share(each['low'])} to {share(each['high'])})"
        for each in importance["choices"][:_NAMED_CHOICES]
    ]
    doubt = ", which is little" if explained < _FORETELLS_LITTLE else ""
    return (
        f"{objective} hangs most on {joined(named)}; "
        f"all choices together foretell {share(explained)} of its variance{doubt}"
    )


def _placed(places: Placement, axes: Sequence[Axis]) -> Iterator[str]:
    rows = [row for row, letter in enumerate(places.letters) if letter in _ATTENTION]
    if not rows:
        return
    half = len(places.best[0]) // 2

    def of_layers(shares: Sequence[Sequence[float]], tenths: slice) -> float:
        return sum(float(np.mean(shares[row][tenths])) for row in rows)

    lower, upper = slice(half), slice(half, None)
    yield (
        f"the fifth with the lowest {axes[0].name} for its {axes[1].name} has attention in "
        f"{share(of_layers(places.best, lower))} of the lower and "
        f"{share(of_layers(places.best, upper))} of the upper layers; the others in "
        f"{share(of_layers(places.rest, lower))} and {share(of_layers(places.rest, upper))}"
    )


def _counted(counts: Sequence[AttentionCount], axes: Sequence[Axis]) -> Iterator[str]:
    """The extremes, if their intervals are apart."""
    known = [count for count in counts if count.low is not None and count.high is not None]
    if len(known) < 2:
        return
    least = min(known, key=lambda count: count.difference)
    most = max(known, key=lambda count: count.difference)
    assert least.high is not None
    assert most.low is not None
    if least.high >= most.low:
        yield (
            f"at equal {axes[1].name}, noise hides how {axes[0].name} hangs on the number of "
            "attention layers"
        )
        return
    unit = axes[0].unit
    yield (
        f"at equal {axes[1].name}, {axes[0].name} is lowest with {_layers(least)}, "
        f"{_span(least)} {unit} from the usual, and highest with {_layers(most)}, {_span(most)}"
    )


def _layers(count: AttentionCount) -> str:
    trials = counted(count.count, "candidate", "candidates")
    return f"{counted(count.layers, 'attention layer', 'attention layers')} ({trials})"


def _span(count: AttentionCount) -> str:
    return f"{count.low:+.2g} to {count.high:+.2g}"
