"""Which candidates of a study are to be confirmed, and what their repeats say."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from evaluators.evaluator import Score
from evaluators.scores import is_trained
from search_space.architecture import Architecture
from search_space.costs import parameter_counts
from studies.analysis.summaries import Front
from studies.confirmation.confirmation_statistics import (
    FEWEST_RANKED,
    NORMAL_95,
    Contender,
    Noise,
    RankCorrelation,
    front_probabilities,
    noise_ceiling,
    rank_correlation,
    seed_noise,
    telling_gap,
)
from studies.records import ConfirmationRun, ScoredPoint, Trial, scored_point
from studies.storage.store import Store

_LOSS = "loss"
_TASK = "task"
_USUAL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A candidate, and what its repeats found.

    fresh: losses by seed, at the study's own token budget; fresh_task: scores of the task.
    long: the loss of the long training.
    again: the objectives that were measured once more, by name; the task's is of the long training,
        with the noise of seeds for its interval.
    failures: of its repeats, in words.
    probability: that it is on the front of those that are confirmed.
    """

    trial: Trial
    on_front: bool
    fresh: Mapping[int, float]
    long: float | None
    again: Mapping[str, Score]
    failures: tuple[str, ...]
    fresh_task: Mapping[int, float] = field(default_factory=dict)
    probability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What is known by now; whatever too little has been repeated for is None.

    short_tokens, long_tokens: the study's token budget, and that of the long trainings.
    inherited: whether the study's own losses are those of a shared network, and not of trainings on
        `short_tokens`.
    as_found: objectives that another seed would move and that are taken as the study found them.
    candidates: by the long loss, those without one behind.
    under_way: repeats that have begun and not ended.
    by_short_loss, by_parameters, by_non_embedding: how the study's own score, and the plain counts
        of parameters (more is better), rank the candidates beside the long loss.
    ceiling: the rank correlation that the noise of seeds allows; None where losses are inherited,
        whose noise is another.
    gap: long losses that differ by more are different, at 95 % each.
    """

    study: str
    short_tokens: int
    inherited: bool
    as_found: tuple[str, ...]
    long_tokens: int | None
    candidates: tuple[Confirmed, ...]
    under_way: int
    noise: Noise | None
    by_short_loss: RankCorrelation | None
    by_parameters: RankCorrelation | None
    by_non_embedding: RankCorrelation | None
    ceiling: float | None
    gap: float | None

    @property
    def long_trained(self) -> tuple[Confirmed, ...]:
        return tuple(each for each in self.candidates if each.long is not None)

    def probability(self, trial: Trial) -> float | None:
        """Of being on the front; None for one that has not been confirmed."""
        found = (each.probability for each in self.candidates if each.trial.id == trial.id)
        return next(found, None)


def contenders(front: Front, count: int | None = None) -> tuple[int, ...]:
    """The numbers of the candidates to confirm: members of the front, then its runners-up.

    count: None for the front and as many runners-up as make eight. Of a front that is larger, as
    many as `count`, evenly along it with both ends. A runner-up is nearer to the front than another
    if its loss would have to come down by less. ValueError where loss is no objective, and for
    fewer than three complete candidates.
    """
    if _LOSS not in [axis.name for axis in front.axes]:
        raise ValueError(f"objectives: loss, which is confirmed, is not one of '{front.study}'")
    complete = [*map(scored_point, front.members), *front.dominated]
    if len(complete) < FEWEST_RANKED:
        raise ValueError(
            f"study: '{front.study}' has {len(complete)} complete candidates, and ranks are "
            f"compared of {FEWEST_RANKED} or more"
        )
    members = [trial.number for trial in front.members]
    wanted = max(_USUAL, len(members)) if count is None else count
    if wanted <= len(members):
        last = max(1, wanted - 1)
        return tuple(members[round(n * (len(members) - 1) / last)] for n in range(wanted))
    others = [axis.name for axis in front.axes if axis.name != _LOSS]
    behind = {point.number: _behind(point, complete, others) for point in front.dominated}
    runners_up = sorted(behind, key=lambda number: (behind[number], number))
    return (*members, *runners_up[: wanted - len(members)])


def read_confirmation(store: Store, front: Front) -> Confirmation | None:
    """None as long as nothing has been repeated."""
    runs = store.repeats(front.study)
    if not runs:
        return None
    trials = store.trials(front.study, numbers={run.number for run in runs})
    architectures = {
        trial.model.hash: store.architecture(trial.model.hash)
        for trial in trials
        if trial.model is not None
    }
    return confirmation_of(front, runs, trials, architectures)


def confirmation_of(
    front: Front,
    runs: Sequence[ConfirmationRun],
    trials: Sequence[Trial],
    architectures: Mapping[str, Architecture],
) -> Confirmation:
    """runs: of these trials, whose architectures are given by hash; see `Store.repeats`."""
    short_tokens, inherited = front.spec.proxy.token_budget, front.spec.proxy.method == "shared"
    long_tokens = _long_tokens(runs, short_tokens)
    members = {trial.id for trial in front.members}
    found = [
        _confirmed(
            trial,
            [run for run in runs if run.repeat.trial == trial.id],
            short_tokens=short_tokens,
            long_tokens=long_tokens,
            on_front=trial.id in members,
            objectives={axis.name for axis in front.axes},
        )
        for trial in trials
    ]
    found = _with_noise_of_task(found)
    found.sort(key=lambda each: (each.long is None, each.long or each.trial.values[_LOSS]))
    noise = seed_noise([each.fresh for each in found])
    ranked = [each for each in found if each.long is not None]
    long = [each.long for each in ranked if each.long is not None]
    short = [each.trial.values[_LOSS] for each in ranked]
    counts = [
        parameter_counts(architectures[each.trial.model.hash])
        for each in ranked
        if each.trial.model is not None
    ]
    return Confirmation(
        study=front.study,
        short_tokens=short_tokens,
        inherited=inherited,
        as_found=tuple(
            axis.name
            for axis in front.axes
            if axis.name != _LOSS
            and is_trained(axis.name)
            and not all(axis.name in each.again for each in ranked)
        ),
        long_tokens=long_tokens,
        candidates=_with_probabilities(front, found, noise),
        under_way=sum(run.ended_at is None for run in runs),
        noise=noise,
        by_short_loss=rank_correlation(short, long),
        by_parameters=rank_correlation([-each.total for each in counts], long),
        by_non_embedding=rank_correlation([each.embedding - each.total for each in counts], long),
        ceiling=_ceiling(short, long, None if inherited else noise),
        gap=None if noise is None else telling_gap(noise),
    )


def _ceiling(short: Sequence[float], long: Sequence[float], noise: Noise | None) -> float | None:
    """The long trainings are taken to be as noisy as the short ones."""
    return None if noise is None else noise_ceiling(short, long, noise.sd, noise.sd)


def _behind(point: ScoredPoint, complete: Sequence[ScoredPoint], others: Sequence[str]) -> float:
    """By how much its loss is above the least among those as good in all else, itself included."""
    rivals = (
        rival.values[_LOSS]
        for rival in complete
        if all(rival.values[name] <= point.values[name] for name in others)
    )
    return point.values[_LOSS] - min(rivals)


def _long_tokens(runs: Sequence[ConfirmationRun], short_tokens: int) -> int | None:
    """The largest budget at which ranks can be compared, else the largest at all."""
    budgets = [run.repeat.token_budget for run in runs if run.scores]
    longer = [budget for budget in budgets if budget is not None and budget != short_tokens]
    ranked = [budget for budget in longer if longer.count(budget) >= FEWEST_RANKED]
    return max(ranked or longer, default=None)


def _confirmed(
    trial: Trial,
    runs: Sequence[ConfirmationRun],
    *,
    short_tokens: int,
    long_tokens: int | None,
    on_front: bool,
    objectives: Collection[str],
) -> Confirmed:
    """Of two repeats that differ in the release alone, the later one."""
    fresh: dict[int, float] = {}
    fresh_task: dict[int, float] = {}
    again: dict[str, Score] = {}
    long = None
    for run in runs:
        scores = {score.name: score for score in run.scores}
        if run.repeat.token_budget is None:
            again |= {name: score for name, score in scores.items() if name in objectives}
        elif _LOSS in scores and run.repeat.token_budget == long_tokens:
            long = scores[_LOSS].value
            if _TASK in objectives and _TASK in scores:
                again[_TASK] = scores[_TASK]
        elif _LOSS in scores and run.repeat.token_budget == short_tokens:
            assert run.repeat.seed is not None
            fresh[run.repeat.seed] = scores[_LOSS].value
            if _TASK in scores:
                fresh_task[run.repeat.seed] = scores[_TASK].value
    return Confirmed(
        trial=trial,
        on_front=on_front,
        fresh=fresh,
        long=long,
        again=again,
        failures=tuple(_failure(run) for run in runs if run.failure is not None),
        fresh_task=fresh_task,
    )


def _with_noise_of_task(found: Sequence[Confirmed]) -> list[Confirmed]:
    """The long trainings' scores of the task with an interval, where its noise is known."""
    noise = seed_noise([each.fresh_task for each in found])
    if noise is None:
        return list(found)
    half = NORMAL_95 * noise.sd
    known = []
    for each in found:
        task = each.again.get(_TASK)
        if task is not None:
            task = replace(task, low=task.value - half, high=task.value + half)
            each = replace(each, again={**each.again, _TASK: task})
        known.append(each)
    return known


def _failure(run: ConfirmationRun) -> str:
    what = "" if run.repeat.seed is None else f" with seed {run.repeat.seed}"
    if run.repeat.token_budget is not None:
        what += f" on {run.repeat.token_budget:,} tokens"
    return f"{run.repeat.stage}{what}: {run.failure}, {run.reason}"


def _with_probabilities(
    front: Front, found: Sequence[Confirmed], noise: Noise | None
) -> tuple[Confirmed, ...]:
    """Times are compared as they were measured anew, where that is done for all."""
    rivals = [each for each in found if each.long is not None]
    if noise is None or not rivals:
        return tuple(found)
    names = [axis.name for axis in front.axes if axis.name != _LOSS]
    anew = {name for name in names if all(name in each.again for each in rivals)}
    shares = front_probabilities(
        [
            Contender(
                loss=each.long,
                others=tuple(
                    each.again[name] if name in anew else _score(each.trial, name) for name in names
                ),
            )
            for each in rivals
            if each.long is not None
        ],
        noise,
        {axis.name: axis.max for axis in front.axes if axis.max is not None},
    )
    by_trial = {each.trial.id: share for each, share in zip(rivals, shares, strict=True)}
    return tuple(replace(each, probability=by_trial.get(each.trial.id)) for each in found)


def _score(trial: Trial, name: str) -> Score:
    return next(score for score in trial.scores if score.name == name)
