"""The results of a confirmation as a table with findings, and as a JSON document."""

import statistics
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evaluators.evaluator import Score
from evaluators.scores import LOSS, is_further_loss
from nas.findings.confirmation_findings import confirmation_findings, probability_text
from nas.findings.expected_loss_findings import expected_loss_document
from nas.findings.time_wording import precision_legend, score_number
from nas.findings.wording import number
from nas.views.terminal import layout_strip, split_heading, table
from studies.analysis.study_front import Front, is_provisional
from studies.confirmation.confirmation_results import CandidateConfirmation, Confirmation
from studies.confirmation.confirmation_statistics import Noise, RankCorrelation
from studies.spec.study_spec import StudySpec

if TYPE_CHECKING:
    from studies.confirmation.candidate_selection import UnexpectedLosses
    from studies.confirmation.long_loss_model import LongLossModel

_DOMINATED = "*"


def confirmation_document(confirmation: Confirmation, spec: StudySpec) -> dict[str, Any]:
    """Return the document that `nas confirm --json` prints.

    Args:
        confirmation: The results so far.
        spec: The study.
    """
    return {
        "study": confirmation.study,
        "short_tokens": confirmation.short_tokens,
        "inherited": confirmation.inherited,
        "long_tokens": confirmation.long_tokens,
        "candidates": [
            _candidate(each, spec, confirmation.unexpected) for each in confirmation.candidates
        ],
        "repeats_under_way": confirmation.unfinished,
        "seed_noise": _noise(confirmation.noise),
        "spearman_with_long_loss": {
            "short_loss": _correlation(confirmation.by_short_loss),
            "non_embedding_parameters": _correlation(confirmation.by_non_embedding),
            "parameters": _correlation(confirmation.by_parameters),
            "ceiling": confirmation.ceiling,
        },
        "telling_gap": confirmation.significant_gap,
        "expected_losses": _expected_losses(confirmation.unexpected),
        "long_loss_model": _long_loss_model(confirmation.long_model),
        "findings": list(confirmation_findings(confirmation)),
    }


def confirmation_view(confirmation: Confirmation, front: Front) -> RenderableType:
    """Return a table of the candidates, sorted by their long loss, and the findings.

    The losses of individual seeds are only in the JSON document.

    Args:
        confirmation: The results so far.
        front: The front of the study, which has the objectives.
    """
    sentences = Table.grid(padding=(0, 1))
    for sentence in confirmation_findings(confirmation):
        sentences.add_row("-", sentence)
    legend = Text("\n".join(_legend(confirmation, front)), style="dim")
    return Group(_table(confirmation, front), legend, Text(), sentences)


def _table(confirmation: Confirmation, front: Front) -> Table:
    others = [axis for axis in front.axes if axis.name != LOSS]
    seeds = sorted({seed for each in confirmation.candidates for seed in each.fresh})
    long = "" if confirmation.long_tokens is None else f"\n{_tokens(confirmation.long_tokens)}"
    short = _tokens(confirmation.short_tokens)
    own = "shared" if confirmation.inherited else short
    further = confirmation.further_losses
    grid = table(
        "trial",
        "layout",
        # Narrow, so that four objectives leave room for the layout in 80 columns.
        *(f"{split_heading(axis.name)}\n{split_heading(axis.unit)}" for axis in others),
        f"loss\n{own}",
        *([f"{len(seeds)} seeds\n{short}"] if seeds else []),
        f"long{long}",
        *(f"{split_heading(name)}{long}" for name in further),
        "on the\nfront",
        left=("trial", "layout"),
        fold=("layout",),
    )
    for each in confirmation.candidates:
        assert each.trial.model is not None
        grid.add_row(
            f"{each.trial.number}{'' if each.on_front else _DOMINATED}",
            layout_strip(each.trial.model.layout),
            *(score_number(front.spec, _score(each, axis.name)) for axis in others),
            number(each.trial.values[LOSS]),
            *([_mean(each.fresh, seeds)] if seeds else []),
            Text("–") if each.long is None else Text(number(each.long), style="bold"),
            *(_long_score(each, name) for name in further),
            probability_text(each.probability),
        )
    return grid


def _legend(confirmation: Confirmation, front: Front) -> Iterator[str]:
    origin = "inherited from the shared network" if confirmation.inherited else "from the study"
    losses = [f"loss: {origin}", "long: after the long training"]
    if any(each.fresh for each in confirmation.candidates):
        losses.insert(1, "seeds: mean over new seeds")
    yield f"{'; '.join(losses)} (bits/byte)"
    yield "on the front: probability among the candidates of this table"
    if not all(each.on_front for each in confirmation.candidates):
        yield f"{_DOMINATED}: dominated in the study"
    scores = [_score(each, axis.name) for each in confirmation.candidates for axis in front.axes]
    if any(is_provisional(front.spec, score) for score in scores):
        yield precision_legend(front.spec.device.precision)


def _score(candidate: CandidateConfirmation, name: str) -> Score:
    """Return the remeasured score, if any; for a further loss, the study's own."""
    if name in candidate.remeasured and not is_further_loss(name):
        return candidate.remeasured[name]
    return next(score for score in candidate.trial.scores if score.name == name)


def _long_score(candidate: CandidateConfirmation, name: str) -> str:
    score = candidate.remeasured.get(name)
    return "–" if score is None else number(score.value)


def _mean(losses: Mapping[int, float], seeds: Collection[int]) -> str:
    """Format the mean over all seeds; a mean over only some of them would not be comparable."""
    return number(statistics.fmean(losses.values())) if len(losses) == len(seeds) else "–"


def _tokens(count: int) -> str:
    """Format a number of tokens: `1.6 M`, `400 k`."""
    return f"{count / 1e6:.3g} M" if count >= 1e6 else f"{count / 1e3:.3g} k"


def _candidate(
    candidate: CandidateConfirmation, spec: StudySpec, unexpected: "UnexpectedLosses | None"
) -> dict[str, Any]:
    scores = candidate.trial.scores
    losses = {} if unexpected is None else unexpected.expected
    return {
        "trial": candidate.trial.number,
        "on_front": candidate.on_front,
        "values": candidate.trial.values,
        "provisional": [score.name for score in scores if is_provisional(spec, score)],
        "fresh_losses": {str(seed): loss for seed, loss in candidate.fresh.items()},
        "long_loss": candidate.long,
        "again": _scores(candidate.remeasured, spec),
        "failures": list(candidate.failures),
        "front_probability": candidate.probability,
        "expected_loss": expected_loss_document(losses.get(candidate.trial.number)),
    }


def _expected_losses(unexpected: "UnexpectedLosses | None") -> dict[str, Any] | None:
    if unexpected is None:
        return None
    return {
        "candidates": unexpected.model.candidates,
        "spearman": unexpected.model.correlation,
        "unexpected_on_front": list(unexpected.members),
        "unexpected_runners_up": list(unexpected.runners_up),
    }


def _long_loss_model(model: "LongLossModel | None") -> dict[str, Any] | None:
    if model is None:
        return None
    return {
        "spearman": {
            "short_loss": _correlation(model.by_short_loss),
            "model": _correlation(model.by_model),
        },
        "model_is_better": model.is_better,
        "to_confirm": [
            {"trial": each.number, "predicted_long_loss": each.loss} for each in model.to_confirm
        ],
    }


def _scores(scores: Mapping[str, Score], spec: StudySpec) -> dict[str, Any]:
    return {
        name: {
            "value": score.value,
            "unit": score.unit,
            "low": score.low,
            "high": score.high,
            "provisional": is_provisional(spec, score),
        }
        for name, score in scores.items()
    }


def _noise(noise: Noise | None) -> dict[str, float] | None:
    if noise is None:
        return None
    return {"sd": noise.sd, "low": noise.low, "high": noise.high, "degrees": noise.degrees}


def _correlation(found: RankCorrelation | None) -> dict[str, float] | None:
    if found is None:
        return None
    return {"value": found.value, "low": found.low, "high": found.high, "count": found.count}
