"""Confirm the front of a study: plan its remeasurements and retrainings, and carry them out."""

import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from evaluators.evaluator import Progress
from evaluators.quality.proxy_loss import ProxyLoss
from evaluators.scores import LOSS, definition_of
from evaluators.text.corpus import Corpus
from hardware.progress import Say
from nas.assembly import (
    evaluators_of,
    remeasuring_evaluators,
    retraining_evaluator,
    study_corpus,
)
from nas.inputs.device_argument import NamedDevice
from nas.training_slots import crowding_remark, parallel_trainings, trainers_of
from nas.workflows.resumed_conditions import check_same_devices, counts_under_other_conditions
from studies.analysis import study_front, summaries
from studies.analysis.expected_losses import read_expected_losses
from studies.analysis.study_front import Front
from studies.confirmation.candidate_selection import (
    UnexpectedLosses,
    candidates_to_confirm,
    unexpected_losses,
)
from studies.confirmation.confirmation_results import (
    Confirmation,
    read_confirmation,
    with_models,
)
from studies.confirmation.confirmation_run import (
    ConfirmationJob,
    JobEnded,
    JobEvent,
    JobProgress,
    run_confirmation_jobs,
)
from studies.records import TRANSIENT_FAILURES, ConfirmationKey, Trial
from studies.spec.study_spec import StudySpec, asked_scores, check_machine, from_json
from studies.storage.store import Store

_SEEDS = 2**32  # the number of seeds that a study file accepts


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationOptions:
    """What to confirm, and how.

    Attributes:
        candidates: Number of candidates; None confirms the front, and adds runners-up if it has
            fewer than eight members.
        budget: Tokens of the long retraining, as a multiple of the study's token budget.
        seeds: Number of retrainings with new seeds at the study's own token budget.
    """

    candidates: int | None
    budget: float
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationPlan:
    """What a confirmation consists of, and what is left to do.

    Attributes:
        spec: The study, with whose token budget the short retrainings run.
        on_front: Number of candidates that are on the front.
        runners_up: Number of candidates that are not.
        first: The numbers of those runners-up that were selected first, because their losses are
            unexpected and they would be on the front with their expected losses.
        seeds: Number of short retrainings per candidate.
        long_tokens: Tokens of the long retraining.
        seconds_left: The expected seconds of what is left to do. Those of retrainings are divided
            by the number that run at the same time. 0 if nothing is known, as about retrainings in
            a study whose losses come from a shared network.
        done_before: Number of remeasurements and retrainings that have ended already.
    """

    spec: StudySpec
    on_front: int
    runners_up: int
    seeds: int
    long_tokens: int
    seconds_left: Mapping[ConfirmationKey, float]
    done_before: int
    first: tuple[int, ...] = ()


ConfirmationEvent: TypeAlias = ConfirmationPlan | JobEvent
"""The plan, which is the first event, or an event of one of its jobs."""
ConfirmationListener: TypeAlias = Callable[[ConfirmationEvent], None]


def confirm_front(
    study: str,
    store: Store,
    options: ConfirmationOptions,
    *,
    devices_of: Callable[[StudySpec], Sequence[NamedDevice]] = lambda _: (),
    listener: ConfirmationListener,
    say: Say,
    notify: Say,
) -> tuple[Front, Confirmation]:
    """Remeasure and retrain the front of a study, or resume doing so.

    Ctrl-C stops it with KeyboardInterrupt; what has ended is stored.

    Args:
        study: The name of the study.
        store: The study's database.
        options: What to confirm, and how.
        devices_of: Returns the devices that the study names.
        listener: Receives the plan, then the events of its jobs.
        say: Receives a text about each step of the preparation, before the first event.
        notify: Receives remarks that the user should read.

    Returns:
        The front, and what is known about it now; other processes may still work on the rest.

    Raises:
        ValueError: The study does not exist, is being run or has too few complete candidates, or
            this machine lacks something that it needs.
    """
    front = study_front.front(store, study)
    spec = from_json(store.study(study).spec, study)
    _check_idle(store, study)
    unexpected = _unexpected_losses(store, front)
    first = () if unexpected is None else unexpected.runners_up
    numbers = candidates_to_confirm(front, options.candidates, first)
    check_machine(spec)
    devices = devices_of(spec)
    crowding = crowding_remark(spec)
    if crowding is not None:
        notify(crowding)
    trials = store.trials(study, numbers=numbers)
    trials = tuple(sorted(trials, key=lambda trial: numbers.index(trial.number)))
    corpus = study_corpus(spec, say)
    trainings = list(_trainings(spec, trials, options, corpus))
    needed = _needed_times(spec)

    def listen(event: JobEvent) -> None:
        listener(event)
        match event:
            case JobProgress(progress=Progress(remark=str(remark))):
                notify(f"{event.job.trial.title}: {remark}")
            case JobEnded():
                for remark in event.remarks:
                    notify(remark)

    with remeasuring_evaluators(spec, store, corpus, devices) as evaluators:
        timings = [
            ConfirmationJob(trial=trial, evaluator=evaluator, needed=needed)
            for trial in trials
            for evaluator in evaluators
        ]
        remeasured = {job.evaluator.stage for job in timings}
        _report_other_conditions(spec, store, trials, corpus, devices, remeasured, notify)
        plan = _plan(store, spec, front, trials, options, [*timings, *trainings])
        listener(replace(plan, first=tuple(number for number in first if number in numbers)))
        run_confirmation_jobs(timings, store, listen, notify)
    with trainers_of(spec) as trainers:
        run_confirmation_jobs(trainings, store, listen, notify, trainers)
    confirmation = read_confirmation(store, front)
    assert confirmation is not None, "there was at least one remeasurement or retraining"
    return front, with_models(confirmation, store, front, unexpected)


def _unexpected_losses(store: Store, front: Front) -> UnexpectedLosses | None:
    """Return the unexpected losses of a study; None if a model predicts them too badly."""
    model = read_expected_losses(store, front.study)
    if model is None or not model.losses or LOSS not in [axis.name for axis in front.axes]:
        return None
    return unexpected_losses(front, model)


def _check_idle(store: Store, study: str) -> None:
    """Raise ValueError if the study is running: its front may change, and it uses the cores."""
    running = summaries.status(store, study).running
    if running:
        owner = running[0].owner
        assert owner is not None
        raise ValueError(
            f"study: '{study}' is being run by {owner}; confirm it after that has ended"
        )


def _needed_times(spec: StudySpec) -> frozenset[str]:
    """Return the times that the study asks for, and the medians that they are computed from."""
    asked = (definition_of(name) for name in asked_scores(spec))
    timed = [each for each in asked if each is not None and each.kind == "time"]
    workloads = {each.workload for each in timed if each.workload is not None}
    return frozenset(workloads | {each.name for each in timed})


def _trainings(
    spec: StudySpec, trials: Sequence[Trial], options: ConfirmationOptions, corpus: Corpus
) -> Iterator[ConfirmationJob]:
    """Yield the retrainings, short ones first, so that the seed noise is known early.

    The long retraining has a seed of its own. With the seed of a short one, both would read the
    same text in the same order from the same initial weights, which alone would make their ranks
    similar.
    """
    budget = spec.proxy.token_budget
    seeds = (seed % _SEEDS for seed in itertools.count(spec.seed + 1))
    long_seed = next(seeds)
    runs = [(seed, budget) for seed in itertools.islice(seeds, options.seeds)]
    runs.append((long_seed, _long_tokens(spec, options)))
    for seed, token_budget in runs:
        evaluator = retraining_evaluator(spec, corpus, seed, token_budget)
        for trial in trials:
            yield ConfirmationJob(
                trial=trial, evaluator=evaluator, seed=seed, token_budget=token_budget
            )


def _long_tokens(spec: StudySpec, options: ConfirmationOptions) -> int:
    return round(spec.proxy.token_budget * options.budget)


def _report_other_conditions(
    spec: StudySpec,
    store: Store,
    trials: Sequence[Trial],
    corpus: Corpus,
    devices: Sequence[NamedDevice],
    remeasured: Container[str],
    notify: Say,
) -> None:
    """Report the stages that the study evaluated on another device, corpus or release.

    Raises:
        ValueError: Another device has the name of one that the study names.
    """
    with evaluators_of(spec, store, corpus, devices) as evaluators:
        check_same_devices(spec, store, evaluators)
        for evaluator in evaluators:
            stage = evaluator.stage
            if stage != ProxyLoss.stage and stage not in remeasured:
                continue
            others, evaluated = counts_under_other_conditions(evaluator, trials)
            if others:
                notify(
                    f"{stage}: {others} of {evaluated} candidates were evaluated on a different "
                    "device, corpus or release; compare their new scores with the study's by rank "
                    "only"
                )


def _plan(
    store: Store,
    spec: StudySpec,
    front: Front,
    trials: Sequence[Trial],
    options: ConfirmationOptions,
    jobs: Sequence[ConfirmationJob],
) -> ConfirmationPlan:
    ended = {
        (run.key.trial, run.key.fingerprint)
        for run in store.confirmation_runs(spec.name)
        if run.ended_at is not None and run.failure not in TRANSIENT_FAILURES
    }
    left = [job for job in jobs if (job.trial.id, job.evaluator.fingerprint) not in ended]
    on_front = sum(trial in front.members for trial in trials)
    return ConfirmationPlan(
        spec=spec,
        on_front=on_front,
        runners_up=len(trials) - on_front,
        seeds=options.seeds,
        long_tokens=_long_tokens(spec, options),
        seconds_left=_expected_seconds(store, spec, left),
        done_before=len(jobs) - len(left),
    )


def _expected_seconds(
    store: Store, spec: StudySpec, jobs: Sequence[ConfirmationJob]
) -> dict[ConfirmationKey, float]:
    """Return the time that each job took in the study; for a retraining, in proportion to tokens.

    It is divided by the number of retrainings at the same time. The time in which a candidate
    inherited its loss says nothing about a retraining, whose expected time is then 0.
    """
    parallel = parallel_trainings(spec)
    stage_seconds: dict[tuple[int, str], float] = {}
    for trial in {job.trial.id: job.trial for job in jobs}.values():
        for stage, evaluation in store.evaluations(trial).items():
            stage_seconds[trial.id, stage] = evaluation.seconds
    expected = {}
    for job in jobs:
        seconds = stage_seconds.get((job.trial.id, job.evaluator.stage), 0.0)
        if job.token_budget is not None:
            is_trained = spec.proxy.method == "scratch"
            budgets = job.token_budget / spec.proxy.token_budget
            seconds *= budgets / parallel if is_trained else 0.0
        expected[job.key] = seconds
    return expected
