"""Sentences about which choices of a study matter, in which direction, and by how much."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from nas.findings.wording import counted, joined, percent
from search_space.architecture import ATTENTION_LETTERS
from studies.analysis.choice_effects import (
    LEAST_CORRELATION,
    POSITION,
    ChoiceEffects,
)
from studies.analysis.choice_importance import Importances
from studies.analysis.placement import AttentionCount, Placement
from studies.analysis.predicted_effects import Effect, PredictedDifference
from studies.analysis.study_front import Axis

NOT_DISTINGUISHABLE = "not distinguishable"

_NAMED_CHOICES = 3
_LOW_EXPLAINED = 0.3
_MOST_DECIMALS = 6


def importance_finding(objective: str, found: Importances) -> str:
    """State which choices an objective depends on most."""
    if not found.weights:
        return f"{objective} cannot be predicted from the choices"
    named = [
        f"{each.choice} ({percent(each.low)} to {percent(each.high)}"
        f"{'' if place else ' of the total importance'})"
        for place, each in enumerate(found.weights[:_NAMED_CHOICES])
    ]
    doubt = ", which is low" if found.explained < _LOW_EXPLAINED else ""
    return (
        f"{objective} depends most on {joined(named)}; "
        f"all choices together explain {percent(found.explained)} of its variance{doubt}"
    )


def effect_findings(found: ChoiceEffects) -> Iterator[str]:
    """Yield in which direction each choice changes the predicted loss, largest changes first.

    Args:
        found: The effects. If the loss cannot be predicted, a single sentence states so.
    """
    candidates = counted(found.candidates, "candidate", "candidates")
    quality = (
        f"a model of {found.objective}, fitted to {candidates}, ranks candidates that it has "
        "not seen with a Spearman correlation of "
        f"{found.correlation:.2f}"
    )
    if not found.is_predictable:
        yield (
            f"the candidates do not show in which direction the choices change {found.objective}: "
            f"{quality}, and at least {LEAST_CORRELATION:g} is required"
        )
        return
    yield quality
    known = [each for each in found.effects if each.summary.is_distinguishable]
    known.sort(key=lambda each: -abs(each.summary.difference))
    for each in known:
        yield _effect_finding(found, each)
    unknown = [each.choice for each in found.effects if not each.summary.is_distinguishable]
    if unknown:
        yield (
            f"no effect of {joined(unknown)} on {found.objective} can be distinguished from chance"
        )
    if found.more_attention is not None:
        yield _attention_finding(found, found.more_attention)


def change_text(comparison: PredictedDifference) -> str:
    """Return what a comparison changes, such as `8,192 -> 32,768`."""
    return f"{comparison.one} -> {comparison.other}"


def difference_text(comparison: PredictedDifference) -> str:
    """Return a difference with its interval: `-0.095 (-0.105 to -0.086)`."""
    places = _decimals(comparison)
    return (
        f"{comparison.difference:+.{places}f} "
        f"({comparison.low:+.{places}f} to {comparison.high:+.{places}f})"
    )


def placement_findings(places: Placement, axes: Sequence[Axis]) -> Iterator[str]:
    """Yield how much attention the best layouts have in each half of their layers."""
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


def attention_count_findings(
    counts: Sequence[AttentionCount], axes: Sequence[Axis]
) -> Iterator[str]:
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


def _effect_finding(found: ChoiceEffects, effect: Effect) -> str:
    each = effect.summary
    if effect.choice == POSITION:
        worse, better = (each.one, each.other) if each.difference < 0 else (each.other, each.one)
        return (
            f"{found.objective} is {_amount(each)} {found.unit} lower with the attention layers "
            f"{_place(better)} than {_place(worse)}"
        )
    return (
        f"{found.objective} {_direction(each)} by {_amount(each)} {found.unit} from "
        f"{effect.choice} = {each.one} to {each.other}"
    )


def _attention_finding(found: ChoiceEffects, effect: Effect) -> str:
    text = "one more attention layer at equal estimated decoding time, with narrower feed-forwards,"
    average, *numbers = effect.comparisons
    if not average.is_distinguishable:
        return f"{text} has no effect on {found.objective} that can be distinguished from chance"
    verb = "lowers" if average.difference < 0 else "raises"
    steps = [
        f"{each.difference:+.{_decimals(each)}f} from {each.one} to {each.other}"
        for each in numbers
        if each.is_distinguishable
    ]
    details = f" (by number of attention layers: {', '.join(steps)})" if steps else ""
    return f"{text} {verb} {found.objective} by {_amount(average)} {found.unit} on average{details}"


def _direction(comparison: PredictedDifference) -> str:
    return "falls" if comparison.difference < 0 else "rises"


def _amount(comparison: PredictedDifference) -> str:
    """Return the size of a difference with its 95 % interval: `0.095 (0.086 to 0.105)`."""
    low, high = sorted((abs(comparison.low), abs(comparison.high)))
    places = _decimals(comparison)
    return f"{abs(comparison.difference):.{places}f} ({low:.{places}f} to {high:.{places}f})"


def _decimals(comparison: PredictedDifference) -> int:
    """Return how many decimals are needed to show the half-width, and a bound other than 0."""
    half = (comparison.high - comparison.low) / 2
    if half < 10**-_MOST_DECIMALS:
        return _MOST_DECIMALS
    places = -math.floor(math.log10(half)) + (1 if f"{half:e}"[0] in "12" else 0)
    nearest = min(abs(comparison.low), abs(comparison.high))
    if comparison.is_distinguishable and round(nearest, places) == 0:
        places += 1
    return min(max(places, 0), _MOST_DECIMALS)


def _place(label: str) -> str:
    return "spread evenly" if label == "even" else f"in the {label} of the layers"


def _layers(count: AttentionCount) -> str:
    trials = counted(count.count, "candidate", "candidates")
    return f"{counted(count.layers, 'attention layer', 'attention layers')} ({trials})"


def _span(count: AttentionCount) -> str:
    return f"{count.low:+.2g} to {count.high:+.2g}"
