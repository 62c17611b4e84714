"""How far a study's losses can be trusted, in sentences that quote figures with intervals."""

import itertools
import statistics
from collections.abc import Iterator, Sequence

from nas.findings.wording import counted
from studies.confirmation.confirmation_results import Confirmation, Confirmed
from studies.confirmation.confirmation_statistics import RankCorrelation

_NAMED = 4
_TASK = "task"  # of a training, and so of another length when it is trained for long
_SURE, _UNLIKELY = 0.95, 0.05
_ASSUMED = (
    "Each candidate has one long training, which tells nothing of its own seed noise: what follows "
    "takes it to be that of the short ones."
)


def trust_line(confirmation: Confirmation | None, study_argument: str) -> str:
    """For a place where there is room for one; `typed` is what the user calls the study by."""
    if confirmation is None:
        return f"not confirmed by longer trainings: nas confirm {study_argument}"
    if confirmation.by_short_loss is None:
        return f"confirmed in part: nas confirm {study_argument} goes on"
    noise, found = confirmation.noise, confirmation.by_short_loss
    beside = "" if noise is None else f"; seed noise {noise.sd:.2g} bits/byte (sd)"
    return (
        f"confirmed: losses rank {found.count} candidates as trainings on "
        f"{confirmation.long_tokens:,} tokens do, Spearman {_correlation(found)}{beside}"
    )


def trust_findings(confirmation: Confirmation) -> Iterator[str]:
    """As far as the confirmation goes."""
    yield from _noise(confirmation)
    yield from _ranks(confirmation)
    yield from _ties(confirmation)
    yield from _places(confirmation)
    yield from _timings(confirmation)
    for each in confirmation.candidates:
        for failure in each.failures:
            yield f"{each.trial.title.capitalize()} failed in its {failure}."
    missing = [each for each in confirmation.candidates if each.long is None and not each.failures]
    left = []
    if missing:
        lack = counted(len(missing), "candidate lacks", "candidates lack")
        left.append(f"{lack} the long training")
    if confirmation.under_way:
        left.append(
            counted(
                confirmation.under_way,
                "repeat has begun and not ended",
                "repeats have begun and not ended",
            )
        )
    if left:
        yield f"Not all is done: {', '.join(left)}; nas confirm goes on."


def probability_text(probability: float | None) -> str:
    """`97%`, `>99%`, a dash for one that is not known."""
    if probability is None:
        return "–"
    if 0.99 < probability < 1:
        return ">99%"
    return "<1%" if 0 < probability < 0.01 else f"{probability:.0%}"


def _noise(confirmation: Confirmation) -> Iterator[str]:
    noise = confirmation.noise
    if noise is None:
        return
    long = _long_losses(confirmation)
    spread = ""
    if len(long) > 1:
        spread = f" The candidates' long losses spread by {statistics.stdev(long):.2g} (sd)."
    yield (
        f"Seed noise of trainings on {confirmation.short_tokens:,} tokens: {noise.sd:.2g} "
        f"bits/byte (sd; 95 %: {noise.low:.2g} to {noise.high:.2g}; "
        f"{counted(noise.degrees, 'degree', 'degrees')} of freedom), without what a seed does to "
        f"all candidates alike.{spread}"
    )
    if long:
        yield _ASSUMED


def _ranks(confirmation: Confirmation) -> Iterator[str]:
    short = confirmation.by_short_loss
    if short is None:
        if len(_long_losses(confirmation)) > 1:
            yield "Too few candidates, or losses all alike: there is no rank correlation."
        return
    allowed = ""
    if confirmation.ceiling is not None:
        allowed = f"; with such seed noise a faultless score comes to {confirmation.ceiling:.2f}"
    elif confirmation.noise is not None and not confirmation.inherited:
        allowed = "; seed noise alone would explain how they differ"
    losses = f"losses after {confirmation.short_tokens:,} tokens"
    others = f"those after {confirmation.long_tokens:,} with another seed"
    if confirmation.inherited:
        losses = "losses inherited from the shared network"
        others = f"those of their own trainings on {confirmation.long_tokens:,} tokens"
    yield (
        f"The {losses} rank {short.count} candidates as {others} do: Spearman "
        f"{_correlation(short)}{allowed}."
    )
    plain = {
        "non-embedding parameters": confirmation.by_non_embedding,
        "all parameters": confirmation.by_parameters,
    }
    told = {name: each for name, each in plain.items() if each is not None}
    if told:
        said = " and ".join(f"{name} {_correlation(each)}" for name, each in told.items())
        best = max(told, key=lambda name: told[name].value)
        verdict = ""
        if told[best].value >= short.value:
            verdict = f"; among these, {best} rank as well as the study's losses"
        yield f"The larger taken for the better, for comparison: Spearman of {said}{verdict}."


def _ties(confirmation: Confirmation) -> Iterator[str]:
    """On the front, whose members a reader chooses among."""
    gap = confirmation.gap
    members = [each for each in confirmation.long_trained if each.on_front]
    pairs = list(itertools.combinations(members, 2))
    if gap is None or not pairs:
        return
    ties = [(one, other) for one, other in pairs if _difference(one, other) <= gap]
    asked, told = counted(len(pairs), "pair", "pairs"), len(pairs) - len(ties) or "none"
    yield (
        f"Long losses that differ by less than {gap:.2g} are ties (95 %, each pair by itself: "
        f"of equal ones, 1 pair in 20 would seem to differ). Of {asked} on the front "
        f"{told} can be told apart by loss."
    )
    if ties and len(ties) < len(pairs):
        named = [f"{one.trial.number} and {other.trial.number}" for one, other in ties]
        more = "" if len(ties) <= _NAMED else f"; and {len(ties) - _NAMED} pairs more"
        yield f"Not distinguishable by loss: trials {'; '.join(named[:_NAMED])}{more}."


def _places(confirmation: Confirmation) -> Iterator[str]:
    known = [each for each in confirmation.candidates if each.probability is not None]
    members = [each for each in known if each.on_front]
    sure = [each for each in members if _share(each) >= _SURE]
    if members:
        yield (
            f"{_SURE:.0%} or more sure to be on the front, among those trained for long: "
            f"{len(sure)} of {counted(len(members), 'member', 'members')}."
        )
    if members and confirmation.as_found:
        yield (
            f"For that, {' and '.join(confirmation.as_found)} count as the study found them, "
            "without what another seed would change."
        )
    if members and _TASK not in confirmation.as_found and any(_TASK in e.again for e in known):
        yield (
            f"For that, {_TASK} counts as the long trainings found it, as noisy as among the short "
            "ones, and drawn apart from the loss."
        )
    doubtful = [each for each in members if _share(each) < _SURE]
    if doubtful:
        yield f"Doubtful: {_listed(sorted(doubtful, key=_share))}."
    rising = [each for each in known if not each.on_front and _share(each) > _UNLIKELY]
    if rising:
        rising.sort(key=_share, reverse=True)
        yield f"Runners-up that may belong on the front: {_listed(rising)}."


def _timings(confirmation: Confirmation) -> Iterator[str]:
    """How far what was measured anew is from the first time."""
    names = dict.fromkeys(name for each in confirmation.candidates for name in each.again)
    names.pop(_TASK, None)
    told = []
    for name in names:
        changes = [
            abs(each.again[name].value / each.trial.values[name] - 1)
            for each in confirmation.candidates
            if name in each.again and each.trial.values.get(name)
        ]
        if changes:
            told.append(f"{name} {statistics.median(changes):.1%} (at most {max(changes):.1%})")
    if told:
        yield f"Measured anew, the median candidate differs by: {', '.join(told)}."


def _long_losses(confirmation: Confirmation) -> list[float]:
    return [each.long for each in confirmation.candidates if each.long is not None]


def _difference(one: Confirmed, other: Confirmed) -> float:
    assert one.long is not None
    assert other.long is not None
    return abs(one.long - other.long)


def _share(candidate: Confirmed) -> float:
    assert candidate.probability is not None
    return candidate.probability


def _listed(candidates: Sequence[Confirmed]) -> str:
    named = [f"{each.trial.title} ({probability_text(each.probability)})" for each in candidates]
    more = len(named) - _NAMED
    return ", ".join(named[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _correlation(found: RankCorrelation) -> str:
    return f"{found.value:.2f} (95 %: {found.low:.2f} to {found.high:.2f})"
