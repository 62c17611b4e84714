"""Findings of a confirmation: how reliable the losses of a study are, with confidence intervals."""

import itertools
import statistics
from collections.abc import Iterator, Sequence

from evaluators.scores import is_further_loss
from nas.findings.expected_loss_findings import (
    correlation_text,
    long_model_findings,
    unexpected_findings,
)
from nas.findings.wording import counted, joined, sentence
from studies.confirmation.confirmation_results import CandidateConfirmation, Confirmation
from studies.confirmation.confirmation_statistics import FEWEST_RANKED

_MOST_NAMED = 4
_CERTAIN, _UNLIKELY = 0.95, 0.05
_NO_RANKS = "no rank correlation: there are too few candidates, or all losses are equal"
_ASSUMPTION = (
    "Each candidate has only one long training run, which cannot show its own seed noise; the "
    "following findings assume that this noise equals that of the short training runs."
)


def confirmation_line(
    confirmation: Confirmation | None, study_argument: str, *, complete: int
) -> str:
    """Summarize a confirmation in one line.

    Args:
        confirmation: The results so far; None if the confirmation has not started.
        study_argument: The argument that identifies the study on the command line.
        complete: The number of complete candidates.
    """
    if confirmation is None and complete < FEWEST_RANKED:
        return (
            "not confirmed by longer training, which requires at least "
            f"{FEWEST_RANKED} complete candidates"
        )
    if confirmation is None:
        return f"not confirmed by longer training: run nas confirm {study_argument}"
    if confirmation.by_short_loss is None and _is_incomplete(confirmation):
        return f"partly confirmed: nas confirm {study_argument} resumes"
    if confirmation.by_short_loss is None:
        return f"confirmed: {_NO_RANKS}"
    noise, found = confirmation.noise, confirmation.by_short_loss
    noise_text = "" if noise is None else f"; seed noise {noise.sd:.2g} bits/byte (sd)"
    return (
        f"confirmed: the losses of {found.count} candidates and those after "
        f"{confirmation.long_tokens:,} tokens have Spearman correlation {correlation_text(found)}"
        f"{noise_text}"
    )


def confirmation_findings(confirmation: Confirmation) -> Iterator[str]:
    """Yield what a confirmation shows so far, as sentences.

    Args:
        confirmation: The results so far.
    """
    yield from _noise(confirmation)
    yield from _ranks(confirmation)
    if confirmation.long_model is not None:
        yield from long_model_findings(confirmation.long_model)
    yield from _ties(confirmation)
    yield from _probabilities(confirmation)
    if confirmation.unexpected is not None:
        numbers = [each.trial.number for each in confirmation.candidates]
        yield from unexpected_findings(confirmation.unexpected, numbers)
    yield from _remeasurements(confirmation)
    for each in confirmation.candidates:
        for failure in each.failures:
            yield f"{each.trial.title.capitalize()} failed in its {failure}."
    missing = _untrained(confirmation)
    left = []
    if missing:
        lack = counted(len(missing), "candidate lacks", "candidates lack")
        left.append(f"{lack} the long training run")
    if confirmation.unfinished:
        left.append(counted(confirmation.unfinished, "job is unfinished", "jobs are unfinished"))
    if left:
        yield f"The confirmation is incomplete: {joined(left)}. To resume it, run nas confirm."


def probability_text(probability: float | None) -> str:
    """Format a probability: `97 %`, `>99 %`, or a dash if it is not known."""
    if probability is None:
        return "–"
    if 0.99 < probability < 1:
        return ">99 %"
    return "<1 %" if 0 < probability < 0.01 else f"{100 * probability:.0f} %"


def _untrained(confirmation: Confirmation) -> list[CandidateConfirmation]:
    """Return the candidates whose long training run has not ended."""
    return [each for each in confirmation.candidates if each.long is None and not each.failures]


def _is_incomplete(confirmation: Confirmation) -> bool:
    return bool(confirmation.unfinished or _untrained(confirmation))


def _noise(confirmation: Confirmation) -> Iterator[str]:
    noise = confirmation.noise
    if noise is None:
        return
    long = _long_losses(confirmation)
    spread = ""
    if len(long) > 1:
        spread = (
            " For comparison, the standard deviation of the candidates' losses after the long "
            f"training is {statistics.stdev(long):.2g} bits/byte."
        )
    yield (
        f"Seed noise of training on {confirmation.short_tokens:,} tokens: {noise.sd:.2g} bits/byte "
        f"(standard deviation; 95 % confidence interval: {noise.low:.2g} to {noise.high:.2g}; "
        f"{counted(noise.degrees, 'degree', 'degrees')} of freedom), excluding the effect that a "
        f"seed has on all candidates alike.{spread}"
    )
    if long:
        yield _ASSUMPTION


def _ranks(confirmation: Confirmation) -> Iterator[str]:
    short = confirmation.by_short_loss
    if short is None:
        if len(_long_losses(confirmation)) > 1:
            yield sentence(_NO_RANKS)
        return
    bound = ""
    if confirmation.ceiling is not None:
        bound = f" Given this seed noise, a perfect proxy would reach {confirmation.ceiling:.2f}."
    elif confirmation.noise is not None and not confirmation.inherited:
        bound = " Seed noise alone would explain the differences between the losses."
    losses = f"losses after {confirmation.short_tokens:,} tokens"
    others = f"those after {confirmation.long_tokens:,} tokens with another seed"
    if confirmation.inherited:
        losses = "losses inherited from the shared network"
        others = f"those after separate training on {confirmation.long_tokens:,} tokens"
    yield (
        f"Spearman correlation of the {losses} with {others}, for {short.count} candidates: "
        f"{correlation_text(short)}.{bound}"
    )
    by_size = {
        "non-embedding parameters": confirmation.by_non_embedding,
        "all parameters": confirmation.by_parameters,
    }
    known = {name: each for name, each in by_size.items() if each is not None}
    if known:
        named = joined([f"{correlation_text(each)} for {name}" for name, each in known.items()])
        best = max(known, key=lambda name: known[name].value)
        verdict = ""
        if known[best].value >= short.value:
            verdict = f" Here, {best} rank the candidates at least as well as the study's losses."
        yield f"Baseline that ranks by size: Spearman correlation {named}.{verdict}"


def _ties(confirmation: Confirmation) -> Iterator[str]:
    """Compare the members of the front, among which the user chooses."""
    gap = confirmation.significant_gap
    members = [each for each in confirmation.long_trained if each.on_front]
    pairs = list(itertools.combinations(members, 2))
    if gap is None or not pairs:
        return
    ties = [(one, other) for one, other in pairs if _difference(one, other) <= gap]
    yield (
        f"Losses after the long training that differ by less than {gap:.2g} bits/byte are ties "
        "(95 % confidence for each pair: 1 in 20 pairs of equal candidates would appear to "
        "differ). Pairs on the front that differ significantly in loss: "
        f"{len(pairs) - len(ties)} of {len(pairs)}."
    )
    if ties and len(ties) < len(pairs):
        named = "; ".join(
            f"{one.trial.number} and {other.trial.number}" for one, other in ties[:_MOST_NAMED]
        )
        left = len(ties) - _MOST_NAMED
        more = f"; and {counted(left, 'more pair', 'more pairs')}" if left > 0 else ""
        yield f"Not distinguishable by loss: trials {named}{more}."


def _probabilities(confirmation: Confirmation) -> Iterator[str]:
    known = [each for each in confirmation.candidates if each.probability is not None]
    members = [each for each in known if each.on_front]
    certain = [each for each in members if _probability(each) >= _CERTAIN]
    if members:
        yield (
            f"Among the candidates with a long training run, {len(certain)} of {len(members)} "
            "members of the front belong on it with a probability of at least "
            f"{100 * _CERTAIN:.0f} %."
        )
    if members and confirmation.not_retrained:
        yield (
            f"These probabilities use {joined(confirmation.not_retrained)} as measured in the "
            "study, without seed noise."
        )
    further = [
        name for name in confirmation.further_losses if name not in confirmation.not_retrained
    ]
    if members and further:
        yield (
            f"These probabilities use the {joined(further)} scores of the long training runs "
            "with the seed noise of the short ones, drawn independently of the loss."
        )
    doubtful = [each for each in members if _probability(each) < _CERTAIN]
    if doubtful:
        yield f"Doubtful members: {_listed(sorted(doubtful, key=_probability))}."
    rising = [each for each in known if not each.on_front and _probability(each) > _UNLIKELY]
    if rising:
        rising.sort(key=_probability, reverse=True)
        yield f"Runners-up that may belong on the front: {_listed(rising)}."


def _remeasurements(confirmation: Confirmation) -> Iterator[str]:
    """State how far remeasured scores are from those of the study, and which are provisional."""
    # Further losses are those of trainings of another length, so they are other measurements.
    names = dict.fromkeys(
        name
        for each in confirmation.candidates
        for name in each.remeasured
        if not is_further_loss(name)
    )
    differences = []
    for name in names:
        changes = [
            abs(each.remeasured[name].value / each.trial.values[name] - 1)
            for each in confirmation.candidates
            if name in each.remeasured
            and not each.remeasured[name].provisional
            and each.trial.values.get(name)
        ]
        if changes:
            median, largest = statistics.median(changes), max(changes)
            differences.append(f"{name} {100 * median:.1f} % (at most {100 * largest:.1f} %)")
    if differences:
        yield f"Median change of remeasured scores: {', '.join(differences)}."
    for name in names:
        provisional = [
            each.trial.title
            for each in confirmation.candidates
            if name in each.remeasured and each.remeasured[name].provisional
        ]
        if provisional:
            yield (
                f"Remeasured {name} is still provisional for {joined(provisional)}: its confidence "
                "interval is wider than requested, which is common on a busy machine."
            )


def _long_losses(confirmation: Confirmation) -> list[float]:
    return [each.long for each in confirmation.candidates if each.long is not None]


def _difference(one: CandidateConfirmation, other: CandidateConfirmation) -> float:
    assert one.long is not None
    assert other.long is not None
    return abs(one.long - other.long)


def _probability(candidate: CandidateConfirmation) -> float:
    assert candidate.probability is not None
    return candidate.probability


def _listed(candidates: Sequence[CandidateConfirmation]) -> str:
    named = [f"{each.trial.title} ({probability_text(each.probability)})" for each in candidates]
    more = len(named) - _MOST_NAMED
    return ", ".join(named[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
