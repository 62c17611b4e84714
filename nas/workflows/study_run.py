"""Run a study, or resume it, until it has its trials."""

import contextlib
from collections.abc import Iterable, Sequence

from evaluators.speed.runners import RUNNERS
from hardware.progress import Say
from nas.assembly import (
    evaluators_of,
    study_corpus,
)
from nas.findings.wording import joined, trials_of
from nas.inputs.device_argument import NamedDevice
from nas.training_slots import crowding_remark, measurers_of, trainers_of
from nas.workflows.resumed_conditions import (
    check_same_devices,
    check_same_text,
    report_other_conditions,
)
from studies.analysis import study_front, summaries
from studies.analysis.followed_study import active_runs
from studies.analysis.study_front import Front
from studies.confirmation.confirmation_results import Confirmation, read_confirmation
from studies.owner import LEASE_S, Owner
from studies.search.events import Listener
from studies.search.loop import run_study
from studies.search.remeasurement import machine_is_quiet
from studies.search.warm_start import check_start_studies
from studies.spec.reference_models import check_models, with_stored_models, with_stored_reference
from studies.spec.start_files import check_start_files, with_stored_starts
from studies.spec.study_spec import StudySpec, from_json, is_measured_here
from studies.storage.store import Store


class StudyInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped the run of a study, whose finished trials are stored.

    The message states how many candidates have ended, in this run or an earlier one.
    """


def run_or_resume(
    spec: StudySpec,
    store: Store,
    *,
    devices: Sequence[NamedDevice] = (),
    trials: int | None,
    restart: bool,
    remeasure: bool = False,
    lease_s: float = LEASE_S,
    listener: Listener,
    say: Say,
    notify: Say,
) -> tuple[Front, Confirmation | None]:
    """Run a study until it has its trials, or resume it if it is in the database.

    Args:
        spec: The study; `check_machine` has accepted it.
        store: The study's database.
        devices: The devices that the study names.
        trials: Total number of trials, including finished ones; None is the number in `spec`.
        restart: Whether to discard the trials of a study with this name first. Cached measurements
            are kept.
        remeasure: Whether to forget the reference model's time and to measure the front again.
        lease_s: Seconds without a sign of life of this process after which others that cannot look
            it up take over its trial.
        listener: Receives the events of the search.
        say: Receives what is being prepared before the first event.
        notify: Receives remarks that the user should read.

    Returns:
        The front, and what is known about it if it has been confirmed.

    Raises:
        ValueError: This machine lacks something that the study needs, the study in the database has
            other settings or was scored with another text, or `restart` is set while another
            process runs or confirms the study.
        StudyInterrupted: Ctrl-C was pressed during the search.
    """
    if _is_begun(spec, store):
        begun = from_json(store.study(spec.name).spec, spec.name)
        spec = with_stored_starts(with_stored_models(spec, begun), begun)
        if restart:
            _check_idle(spec, store)
        else:
            spec = with_stored_reference(spec, begun)
            _report_other_processes(spec, store, notify)
    check_models(spec)
    check_start_files(spec)
    crowding = crowding_remark(spec)
    if crowding is not None:
        notify(crowding)
    if restart or not _is_begun(spec, store):
        check_start_studies(spec, store)  # now, because reading a large corpus takes minutes
    corpus = study_corpus(spec, say)
    if not restart:
        check_same_text(spec, store, corpus)
    with (
        evaluators_of(spec, store, corpus, devices) as evaluators,
        trainers_of(spec) as trainers,
        contextlib.ExitStack() as measurers,
    ):
        if not restart:
            check_same_devices(spec, store, evaluators)
            report_other_conditions(spec, store, evaluators, notify)
        if restart and _is_begun(spec, store):
            _check_idle(spec, store)  # again, because reading a large corpus takes minutes
            store.delete_study(spec.name)
        try:
            run_study(
                spec,
                evaluators=evaluators,
                store=store,
                runner=trainers,
                device_runners={
                    stage: measurers.enter_context(measurer)
                    for stage, measurer in measurers_of(evaluators).items()
                },
                listener=listener,
                trials=trials,
                remeasure=remeasure,
                lease_s=lease_s,
                is_quiet=machine_is_quiet if _is_disturbed(spec) else _always,
            )
        except KeyboardInterrupt:
            is_begun = _is_begun(spec, store)
            ended = summaries.status(store, spec.name).counts.ended if is_begun else 0
            done = trials_of(ended, trials or spec.trials)
            raise StudyInterrupted(f"stopped after {done}") from None
    front = study_front.front(store, spec.name)
    return front, read_confirmation(store, front)


def _is_disturbed(spec: StudySpec) -> bool:
    """Return whether the load of this machine disturbs the measurements of a study."""
    return is_measured_here(spec) and not RUNNERS[spec.device.runner].is_simulated


def _always() -> bool:
    return True


def _report_other_processes(spec: StudySpec, store: Store, notify: Say) -> None:
    owners = _owners(spec, store)
    if owners:
        notify(
            f"{spec.name}: {_joined(owners)} {'is' if len(owners) == 1 else 'are'} also running "
            "this study; the processes share its trials, and no trial is run twice"
        )


def _check_idle(spec: StudySpec, store: Store) -> None:
    """Raise ValueError if another process runs or confirms the study."""
    confirming = active_runs(store.confirmation_runs(spec.name))
    owners = {"run": _owners(spec, store), "confirmed": {run.owner: None for run in confirming}}
    for activity, processes in owners.items():
        if processes:
            raise ValueError(
                f"study: '{spec.name}' is being {activity} by {_joined(processes)}; restart the "
                "study after that has ended"
            )


def _owners(spec: StudySpec, store: Store) -> dict[Owner, None]:
    """Return the processes that run the study, without duplicates."""
    running = summaries.status(store, spec.name).running
    return {trial.owner: None for trial in running if trial.owner is not None}


def _joined(owners: Iterable[Owner]) -> str:
    return joined([str(owner) for owner in owners])


def _is_begun(spec: StudySpec, store: Store) -> bool:
    return spec.name in [study.name for study in store.studies()]
