"""Compare the conditions under which a study's trials were scored with those of the present run."""

from collections.abc import Iterable, Sequence

from evaluators.evaluator import Evaluator
from evaluators.quality.proxy_loss import ProxyLoss
from evaluators.speed.device_latency import DeviceLatency, marked
from evaluators.speed.per_byte import is_text_stage
from evaluators.text.corpus import PYTHON, Corpus
from hardware.progress import Say
from studies.records import Trial
from studies.spec.study_spec import StudySpec
from studies.storage.store import Store


def check_same_text(spec: StudySpec, store: Store, corpus: Corpus) -> None:
    """Check that the trials of a study were scored with the text that its corpus has now.

    Losses and times per byte on different texts cannot be compared, so a study has one text, as it
    has one token budget. Trials that failed or have not ended do not count, because they have no
    scores.

    Args:
        spec: The study.
        store: The study's database, which need not have the study yet.
        corpus: The study's corpus as it is now.

    Raises:
        ValueError: A trial of the study was scored with another text.
    """
    others = sum(_has_other_text(trial, corpus) for trial in _scored_trials(spec, store))
    if not others:
        return
    name = spec.proxy.corpus
    restore = "restore the text"
    if name in (PYTHON, (PYTHON,)):
        restore = "use the same release of Python"
    trials = "1 trial" if others == 1 else f"{others:,} trials"
    raise ValueError(
        f"proxy.corpus: the text of {_quoted(name)} differs from that with which {trials} of "
        f"'{spec.name}' {'was' if others == 1 else 'were'} scored, and scores on different texts "
        f"cannot be compared; {restore}, choose another name for the study, or start it again with "
        "nas run --restart"
    )


def check_same_devices(spec: StudySpec, store: Store, evaluators: Sequence[Evaluator]) -> None:
    """Check that the named devices, with their runtime and threads, are those of the study so far.

    Args:
        spec: The study.
        store: The study's database, which need not have the study yet.
        evaluators: The evaluators of the present run.

    Raises:
        ValueError: Another device has the name now, or the device has other settings.
    """
    runs = [run for trial in _scored_trials(spec, store) for run in trial.stages]
    for evaluator in evaluators:
        if isinstance(evaluator, DeviceLatency):
            found = [run.fingerprint for run in runs if run.stage == evaluator.stage]
            others = sum(marked(evaluator.identity) not in each for each in found)
            if others:
                raise ValueError(
                    f"target.devices: '{evaluator.device}' is another device ({evaluator.identity})"
                    f" than the one on which '{spec.name}' has measured {others:,} models; connect "
                    "that one, or choose another name for the study"
                )
            definition = evaluator.definition
            mark = "fake device "
            if not definition.is_simulated:
                mark = f" threads {definition.threads} device "
            others = sum(mark not in each or definition.runtime not in each for each in found)
            if others:
                raise ValueError(
                    f"target.devices: '{evaluator.device}' has other settings ("
                    f"{definition.runtime}, threads = {definition.threads}) than those with which "
                    f"'{spec.name}' has measured {others:,} models there; restore them, or choose "
                    "another name for the study"
                )


def report_other_conditions(
    spec: StudySpec, store: Store, evaluators: Sequence[Evaluator], notify: Say
) -> None:
    """Report the stages that trials of a study have passed on another device or release.

    Args:
        spec: The study.
        store: The study's database, which need not have the study yet.
        evaluators: The evaluators of the present run.
        notify: Receives a sentence for each of these stages.
    """
    trials = _scored_trials(spec, store)
    for evaluator in evaluators:
        stage = evaluator.stage
        if is_text_stage(stage):
            continue  # it depends on the latency, which is reported, and on the corpus
        others, evaluated = counts_under_other_conditions(evaluator, trials)
        if others:
            notify(
                f"{stage}: {others} of {evaluated} trials were evaluated on a different "
                f"{_causes(spec, stage)} than this run uses; their scores and those of new trials "
                "may not be comparable"
            )


def counts_under_other_conditions(evaluator: Evaluator, trials: Iterable[Trial]) -> tuple[int, int]:
    """Return how many trials have passed the evaluator's stage with a different fingerprint.

    Returns:
        Their number, and the number of all that have passed the stage.
    """
    runs = [run for trial in trials for run in trial.stages if run.stage == evaluator.stage]
    return sum(run.fingerprint != evaluator.fingerprint for run in runs), len(runs)


def _causes(spec: StudySpec, stage: str) -> str:
    """Return what the fingerprint of a stage depends on, apart from the settings and the corpus."""
    is_task_scored = stage == ProxyLoss.stage and spec.proxy.task is not None
    return "device, release or task file" if is_task_scored else "device or release"


def _has_other_text(trial: Trial, corpus: Corpus) -> bool:
    """Return whether a trial has a time per byte of another text than that of the corpus.

    All trials that were trained have one, and its fingerprint contains the identity of the text.
    """
    return any(
        is_text_stage(run.stage) and corpus.identity not in run.fingerprint for run in trial.stages
    )


def _scored_trials(spec: StudySpec, store: Store) -> list[Trial]:
    """Return the trials of a study that have ended without a failure."""
    if spec.name not in [study.name for study in store.studies()]:
        return []
    trials = (*store.trials(spec.name, "reference"), *store.trials(spec.name))
    return [
        trial for trial in trials if trial.outcome is not None and trial.outcome.failure is None
    ]


def _quoted(name: str | tuple[str, ...]) -> str:
    return f"'{name}'" if isinstance(name, str) else str(list(name))
