"""The results of a confirmation: what its retrainings and remeasurements show."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from evaluators.evaluator import Score
from evaluators.scores import LOSS, is_further_loss, is_trained
from hardware.measurement import NORMAL_975
from search_space.architecture import Architecture
from search_space.costs import parameter_counts
from studies.analysis.study_front import Front
from studies.confirmation.confirmation_statistics import (
    FEWEST_RANKED,
    CandidateScores,
    Noise,
    RankCorrelation,
    front_probabilities,
    noise_ceiling,
    rank_correlation,
    seed_noise,
    significant_gap,
)
from studies.records import ConfirmationRun, Trial
from studies.storage.store import Store

# Slow to import, and most programs that read a confirmation need no model.
if TYPE_CHECKING:
    from studies.confirmation.candidate_selection import UnexpectedLosses
    from studies.confirmation.long_loss_model import LongLossModel


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateConfirmation:
    """A candidate and the results of its confirmation.

    Attributes:
        trial: The candidate, with the scores of the study.
        on_front: Whether it is on the front of the study.
        fresh: Its losses with fresh seeds at the study's own token budget, by seed, in bits per
            byte.
        long: Its loss after the long training; None without one.
        remeasured: The objectives that were measured again, by name. That of the task comes from
            the long training, with an interval from the seed noise.
        failures: Its failures, in words.
        fresh_further: Its further losses with fresh seeds, by name and seed.
        probability: The probability that it is on the front of the confirmed candidates; None if
            too little is known.
    """

    trial: Trial
    on_front: bool
    fresh: Mapping[int, float]
    long: float | None
    remeasured: Mapping[str, Score]
    failures: tuple[str, ...]
    fresh_further: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    probability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """The results of a confirmation so far; a result that too little is known for is None.

    Attributes:
        study: The name of the study.
        short_tokens: The token budget of the study.
        inherited: Whether the study's own losses are inherited from a shared network instead of
            coming from training runs on `short_tokens`.
        not_retrained: The objectives that depend on the seed but are taken from the study, because
            they were not measured again for all candidates.
        long_tokens: The token budget of the long training runs.
        candidates: The candidates, sorted by the long loss, followed by those without one.
        unfinished: The number of jobs that have started and not ended.
        noise: The seed noise of training runs on `short_tokens`.
        by_short_loss: The rank correlation of the long losses with the study's own losses.
        by_parameters: Their rank correlation with the number of parameters (more is better).
        by_non_embedding: The same for the number of non-embedding parameters.
        ceiling: The upper bound on `by_short_loss` given the seed noise; see `noise_ceiling`. None
            for inherited losses, whose noise is unknown.
        significant_gap: The difference above which two long losses differ significantly, at the
            95 % level for each pair.
        unexpected: The unexpected losses of the study; None if they were not looked for or too
            little is known.
        long_model: How well a model of the long losses ranks the candidates; None if it was not
            fitted or too little is known.
    """

    study: str
    short_tokens: int
    inherited: bool
    not_retrained: tuple[str, ...]
    long_tokens: int | None
    candidates: tuple[CandidateConfirmation, ...]
    unfinished: int
    noise: Noise | None
    by_short_loss: RankCorrelation | None
    by_parameters: RankCorrelation | None
    by_non_embedding: RankCorrelation | None
    ceiling: float | None
    significant_gap: float | None
    unexpected: "UnexpectedLosses | None" = None
    long_model: "LongLossModel | None" = None

    @property
    def long_trained(self) -> tuple[CandidateConfirmation, ...]:
        """The candidates with a long training run."""
        return tuple(each for each in self.candidates if each.long is not None)

    @property
    def further_losses(self) -> tuple[str, ...]:
        """The objectives, apart from the loss itself, that the long training runs gave again."""
        names = dict.fromkeys(name for each in self.candidates for name in each.remeasured)
        return tuple(filter(is_further_loss, names))

    def probability(self, trial: Trial) -> float | None:
        """Return the probability that a trial is on the front, or None if it is not confirmed."""
        found = (each.probability for each in self.candidates if each.trial.id == trial.id)
        return next(found, None)


def read_confirmation(store: Store, front: Front) -> Confirmation | None:
    """Return the results of the confirmation of a study so far, or None if it has not started.

    Args:
        store: The database.
        front: The front of the study.
    """
    runs = store.confirmation_runs(front.study)
    if not runs:
        return None
    trials = store.trials(front.study, numbers={run.number for run in runs})
    architectures = {
        trial.model.hash: store.architecture(trial.model.hash)
        for trial in trials
        if trial.model is not None
    }
    return evaluate_confirmation(front, runs, trials, architectures)


def with_models(
    confirmation: Confirmation, store: Store, front: Front, unexpected: "UnexpectedLosses | None"
) -> Confirmation:
    """Add what models of the losses show to the results of a confirmation; this takes seconds.

    Args:
        confirmation: The results.
        store: The database.
        front: The front of the study.
        unexpected: The unexpected losses of the study, if they are known.
    """
    from studies.confirmation.long_loss_model import long_loss_model

    long = {
        each.trial.number: each.long for each in confirmation.candidates if each.long is not None
    }
    return replace(
        confirmation,
        unexpected=unexpected,
        long_model=long_loss_model(front, long, store.architecture),
    )


def evaluate_confirmation(
    front: Front,
    runs: Sequence[ConfirmationRun],
    trials: Sequence[Trial],
    architectures: Mapping[str, Architecture],
) -> Confirmation:
    """Evaluate the runs of a confirmation.

    Args:
        front: The front of the study.
        runs: The runs, in the order of `Store.confirmation_runs`.
        trials: Their candidates.
        architectures: The architectures of the candidates, by hash.
    """
    short_tokens, inherited = front.spec.proxy.token_budget, front.spec.proxy.method == "shared"
    long_tokens = _long_tokens(runs, short_tokens)
    members = {trial.id for trial in front.members}
    found = [
        _confirmed_candidate(
            trial,
            [run for run in runs if run.key.trial == trial.id],
            short_tokens=short_tokens,
            long_tokens=long_tokens,
            on_front=trial.id in members,
            objectives={axis.name for axis in front.axes},
        )
        for trial in trials
    ]
    found = _with_seed_noise(found)
    found.sort(key=lambda each: (each.long is None, each.long or each.trial.values[LOSS]))
    noise = seed_noise([each.fresh for each in found])
    ranked = [each for each in found if each.long is not None]
    long = [each.long for each in ranked if each.long is not None]
    short = [each.trial.values[LOSS] for each in ranked]
    counts = [
        parameter_counts(architectures[each.trial.model.hash])
        for each in ranked
        if each.trial.model is not None
    ]
    return Confirmation(
        study=front.study,
        short_tokens=short_tokens,
        inherited=inherited,
        not_retrained=tuple(
            axis.name
            for axis in front.axes
            if axis.name != LOSS
            and is_trained(axis.name)
            and not all(axis.name in each.remeasured for each in ranked)
        ),
        long_tokens=long_tokens,
        candidates=_with_probabilities(front, found, noise),
        unfinished=sum(run.ended_at is None for run in runs),
        noise=noise,
        by_short_loss=rank_correlation(short, long),
        by_parameters=rank_correlation([-each.total for each in counts], long),
        by_non_embedding=rank_correlation([each.embedding - each.total for each in counts], long),
        ceiling=_ceiling(short, long, None if inherited else noise),
        significant_gap=None if noise is None else significant_gap(noise),
    )


def _ceiling(short: Sequence[float], long: Sequence[float], noise: Noise | None) -> float | None:
    """Assume that the long training runs are as noisy as the short ones."""
    return None if noise is None else noise_ceiling(short, long, noise.sd, noise.sd)


def _long_tokens(runs: Sequence[ConfirmationRun], short_tokens: int) -> int | None:
    """Return the largest budget with enough runs to compare ranks, else the largest budget."""
    budgets = [run.key.token_budget for run in runs if run.scores]
    longer = [budget for budget in budgets if budget is not None and budget != short_tokens]
    ranked = [budget for budget in longer if longer.count(budget) >= FEWEST_RANKED]
    return max(ranked or longer, default=None)


def _confirmed_candidate(
    trial: Trial,
    runs: Sequence[ConfirmationRun],
    *,
    short_tokens: int,
    long_tokens: int | None,
    on_front: bool,
    objectives: Collection[str],
) -> CandidateConfirmation:
    """Collect the results of a candidate; later runs replace those of an earlier release."""
    fresh: dict[int, float] = {}
    fresh_further: dict[str, dict[int, float]] = defaultdict(dict)
    remeasured: dict[str, Score] = {}
    long = None
    for run in runs:
        key = run.key
        scores = {score.name: score for score in run.scores}
        if key.token_budget is None:
            remeasured |= {name: score for name, score in scores.items() if name in objectives}
        elif LOSS in scores and key.token_budget == long_tokens:
            long = scores[LOSS].value
            remeasured |= {
                name: score
                for name, score in scores.items()
                if name in objectives and is_further_loss(name)
            }
        elif LOSS in scores and key.token_budget == short_tokens:
            assert key.seed is not None
            fresh[key.seed] = scores[LOSS].value
            for name, score in scores.items():
                if is_further_loss(name):
                    fresh_further[name][key.seed] = score.value
    return CandidateConfirmation(
        trial=trial,
        on_front=on_front,
        fresh=fresh,
        long=long,
        remeasured=remeasured,
        failures=tuple(_failure(run) for run in runs if run.failure is not None),
        fresh_further=fresh_further,
    )


def _with_seed_noise(found: Sequence[CandidateConfirmation]) -> list[CandidateConfirmation]:
    """Add intervals to the further losses of the long trainings, if their seed noise is known."""
    names = {name for each in found for name in each.remeasured if is_further_loss(name)}
    noises = {
        name: seed_noise([each.fresh_further.get(name, {}) for each in found]) for name in names
    }
    halves = {name: NORMAL_975 * noise.sd for name, noise in noises.items() if noise is not None}
    return [
        replace(
            each,
            remeasured={
                name: replace(
                    score, low=score.value - halves[name], high=score.value + halves[name]
                )
                if name in halves
                else score
                for name, score in each.remeasured.items()
            },
        )
        for each in found
    ]


def _failure(run: ConfirmationRun) -> str:
    key = run.key
    settings = "" if key.seed is None else f" with seed {key.seed}"
    if key.token_budget is not None:
        settings += f" on {key.token_budget:,} tokens"
    return f"{key.stage}{settings}: {run.failure}, {run.reason}"


def _with_probabilities(
    front: Front, found: Sequence[CandidateConfirmation], noise: Noise | None
) -> tuple[CandidateConfirmation, ...]:
    """Use remeasured scores for objectives that were remeasured for all candidates."""
    ranked = [each for each in found if each.long is not None]
    if noise is None or not ranked:
        return tuple(found)
    names = [axis.name for axis in front.axes if axis.name != LOSS]
    remeasured = {name for name in names if all(name in each.remeasured for each in ranked)}
    probabilities = front_probabilities(
        [
            CandidateScores(
                loss=each.long,
                others=tuple(
                    each.remeasured[name] if name in remeasured else _score(each.trial, name)
                    for name in names
                ),
            )
            for each in ranked
            if each.long is not None
        ],
        noise,
        {axis.name: axis.max for axis in front.axes if axis.max is not None},
    )
    by_trial = {
        each.trial.id: probability for each, probability in zip(ranked, probabilities, strict=True)
    }
    return tuple(replace(each, probability=by_trial.get(each.trial.id)) for each in found)


def _score(trial: Trial, name: str) -> Score:
    return next(score for score in trial.scores if score.name == name)
