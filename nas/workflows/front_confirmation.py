"""Confirming a study's front while someone watches: what is to be done, and doing it."""

import itertools
import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from evaluators.quality.proxy_loss import ProxyLoss
from evaluators.text.corpus import Corpus, read_corpus
from nas.assembly import evaluators_of, remeasuring_evaluators, retraining_evaluator
from nas.views.confirmation_view import confirmation_document, confirmation_view
from nas.views.live_confirmation import RemainingWork, watching
from nas.views.terminal import counted, duration, notices, output, print_json
from studies.analysis import summaries
from studies.confirmation.confirmation_results import contenders, read_confirmation
from studies.confirmation.confirmation_run import ConfirmationJob, carry_out
from studies.records import TRANSIENT_FAILURES, Trial
from studies.spec.study_spec import StudySpec, check_machine, from_json
from studies.storage.store import Store

_SEEDS = 2**32  # as many as a study file knows


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationOptions:
    """What is to be repeated.

    candidates: how many; None for the front and some runners-up.
    budget: of the long training, in the study's own. seeds: trainings at the study's own budget.
    """

    candidates: int | None
    budget: float
    seeds: int


def confirm_and_show(
    name: str, storage: str, options: ConfirmationOptions, study_argument: str, *, as_json: bool
) -> None:
    """Goes on with the confirmation, or begins it; `typed` is what the user calls the study by.

    ValueError for a study that runs, for one with too few candidates, and for what this machine
    lacks.
    """
    with Store.open(storage, create=False) as store:
        front = summaries.front(store, name)
        spec = from_json(store.study(name).spec)
        _check_idle(store, name)
        numbers = contenders(front, options.candidates)
        check_machine(spec)
        trials = store.trials(name, numbers=numbers)
        trials = tuple(sorted(trials, key=lambda trial: numbers.index(trial.number)))
        on_front = sum(trial in front.members for trial in trials)
        try:
            _confirm(store, spec, trials, options, on_front)
        except KeyboardInterrupt:
            notices().print(
                "stopped; what is done is kept, and the same command goes on from there"
            )
            raise
        # What is known now is shown, also where another process works on the rest.
        confirmation = read_confirmation(store, front)
        assert confirmation is not None, "there was at least a timing or a training to repeat"
    if as_json:
        print_json(confirmation_document(confirmation))
    else:
        output().print(confirmation_view(confirmation, front))
        output().print(f"next: nas pareto {study_argument}", soft_wrap=True)


def _check_idle(store: Store, name: str) -> None:
    """While a study runs its front moves, and two would share the machine's cores."""
    running = summaries.status(store, name).running
    if running:
        owner = running[0].owner
        assert owner is not None
        raise ValueError(f"study: '{name}' is being run by {owner}; confirm it once that has ended")


def _confirm(
    store: Store,
    spec: StudySpec,
    trials: Sequence[Trial],
    options: ConfirmationOptions,
    on_front: int,
) -> None:
    with notices().status("reading the corpus"):
        corpus = read_corpus(spec.proxy.corpus)  # once for all
    trainings = list(_trainings(spec, trials, options, corpus))
    with remeasuring_evaluators(spec, store, corpus) as evaluators:
        timings = [
            ConfirmationJob(trial=trial, evaluator=evaluator)
            for trial in trials
            for evaluator in evaluators
        ]
        _warn_of_others(spec, store, trials, corpus, {job.evaluator.stage for job in timings})
        forecast = _forecast(store, spec, [*timings, *trainings])
        notices().print(_plan(spec, trials, options, on_front, forecast), soft_wrap=True)
        with watching(forecast) as listener:
            carry_out(timings, store, listener)
    with watching(forecast) as listener:
        carry_out(trainings, store, listener)


def _trainings(
    spec: StudySpec, trials: Sequence[Trial], options: ConfirmationOptions, corpus: Corpus
) -> Iterator[ConfirmationJob]:
    """Short ones first: with them the noise is known early.

    The long training has a seed of its own. With a seed that a short one has had, both would read
    the same text in the same order from the same weights, and rank alike for that reason too.
    """
    budget = spec.proxy.token_budget
    seeds = (seed % _SEEDS for seed in itertools.count(spec.seed + 1))
    long_seed = next(seeds)
    lengths = [(seed, budget) for seed in itertools.islice(seeds, options.seeds)]
    lengths.append((long_seed, round(budget * options.budget)))
    for seed, token_budget in lengths:
        evaluator = retraining_evaluator(spec, corpus, seed, token_budget)
        for trial in trials:
            yield ConfirmationJob(
                trial=trial, evaluator=evaluator, seed=seed, token_budget=token_budget
            )


def _warn_of_others(
    spec: StudySpec, store: Store, trials: Sequence[Trial], corpus: Corpus, timed: Container[str]
) -> None:
    """Where a device, the corpus or the release is another than when the study ran.

    timed: the stages that are timed anew.
    """
    with evaluators_of(spec, store, corpus) as evaluators:
        now = {each.stage: each.fingerprint for each in evaluators}
    for stage, fingerprint in now.items():
        if stage != ProxyLoss.stage and stage not in timed:
            continue
        runs = [run for trial in trials for run in trial.stages if run.stage == stage]
        others = sum(run.fingerprint != fingerprint for run in runs)
        if others:
            notices().print(
                f"{stage}: {others} of {len(runs)} candidates had theirs on another device, corpus "
                "or release; with those, repeats compare by their order alone",
                soft_wrap=True,
            )


def _forecast(store: Store, spec: StudySpec, jobs: Sequence[ConfirmationJob]) -> RemainingWork:
    """From what the same stage of the same candidate took the study, a training by its tokens.

    What a candidate inherited its loss in tells nothing of a training: that is left at 0.
    """
    ended = {
        (run.repeat.trial, run.repeat.fingerprint)
        for run in store.repeats(spec.name)
        if run.ended_at is not None and run.failure not in TRANSIENT_FAILURES
    }
    left = [job for job in jobs if (job.trial.id, job.evaluator.fingerprint) not in ended]
    prices: dict[tuple[int, str], float] = {}
    for trial in {job.trial.id: job.trial for job in left}.values():
        for stage, evaluation in store.evaluations(trial).items():
            prices[trial.id, stage] = evaluation.seconds
    seconds = {}
    for job in left:
        price = prices.get((job.trial.id, job.evaluator.stage), 0.0)
        share = 1.0
        if job.token_budget is not None:
            trained = spec.proxy.method == "scratch"
            share = job.token_budget / spec.proxy.token_budget if trained else 0.0
        seconds[job.repeat] = price * share
    return RemainingWork(study=spec.name, seconds=seconds, done_before=len(jobs) - len(left))


def _plan(
    spec: StudySpec,
    trials: Sequence[Trial],
    options: ConfirmationOptions,
    on_front: int,
    forecast: RemainingWork,
) -> str:
    behind = len(trials) - on_front
    runners_up = f" and {behind} runners-up" if behind > 1 else " and a runner-up" if behind else ""
    budget = spec.proxy.token_budget
    said = (
        f"{spec.name}: {on_front} of the front{runners_up}: each is timed anew, trained with "
        f"{options.seeds} fresh seeds on {budget:,} tokens, and with another on "
        f"{round(budget * options.budget):,}"
    )
    left = len(forecast.seconds)
    trainings = sum(repeat.token_budget is not None for repeat in forecast.seconds)
    if not left:
        return f"{said}\nall {forecast.done_before} of these are done"
    done = f"; {forecast.done_before} are done" if forecast.done_before else ""
    about = ""
    if spec.proxy.method == "scratch" or not trainings:
        about = f", about {duration(math.fsum(forecast.seconds.values()))}"
    timings = counted(left - trainings, "timing", "timings")
    trained = counted(trainings, "training", "trainings")
    return f"{said}\n{timings} and {trained} are left{about}{done}"
