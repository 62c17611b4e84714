"""Trials whose times depend on a calibration."""

from collections.abc import Mapping

from evaluators.calibration import Calibration
from evaluators.evaluator import CalibratedRatio, Evaluation, Score
from hardware.measurement import Measurement
from search_space.architecture import Architecture
from search_space.preset_models import preset
from studies.records import Outcome, StageRun, Trial
from studies.storage.store import Store

COMPLETE = Outcome(state="complete")
ARCHITECTURES = tuple(map(preset, ("hybrid-20m", "smollm2-135m", "lfm2-350m", "lfm2.5-230m")))


def timed(
    calibration: Calibration,
    ratio: float,
    *,
    name: str = "decode",
    provisional: bool = False,
    measurements: tuple[Measurement, ...] = (),
) -> Evaluation:
    """Return an evaluation with a time that was computed with a calibration, and another score."""
    measured = CalibratedRatio(
        calibration=calibration.key, ratio=ratio, low=ratio / 1.02, high=ratio * 1.03
    )
    value, low, high = calibration.convert(measured.ratio, measured.low, measured.high)
    time = Score(
        name=name,
        value=value,
        unit="ms",
        low=low,
        high=high,
        provisional=provisional,
        measured=measured,
    )
    memory = Score(name="memory", value=4.0, unit="MB", low=3.0, high=5.0)
    return Evaluation(scores=(time, memory), seconds=2.0, measurements=measurements)


def ended(
    store: Store,
    architecture: Architecture,
    evaluations: Mapping[str, Evaluation],
    *,
    study: str = "ours",
    outcome: Outcome = COMPLETE,
) -> Trial:
    """Store a candidate with an evaluation for each of its stages, by name and fingerprint."""
    claimed = store.claim(study, total=1_000)
    assert claimed is not None
    trial = store.begin(claimed, architecture)
    earlier_duplicate = store.earlier_duplicate(trial)
    if earlier_duplicate is not None:
        assert earlier_duplicate.outcome is not None
        return store.end(trial, earlier_duplicate.outcome, earlier_duplicate=earlier_duplicate)
    for stage, evaluation in evaluations.items():
        store.save_evaluation(stage, architecture, evaluation)
        store.leave(trial, StageRun(stage=stage, fingerprint=stage, seconds=1.0), finished=True)
    return store.end(trial, outcome)


def reread(store: Store, trial: Trial) -> Trial:
    """Return the trial as it is now."""
    (found,) = store.trials(trial.study, trial.kind, numbers=[trial.number])
    return found


def replace_stored(
    store: Store, fingerprint: str, architecture: Architecture, evaluation: Evaluation
) -> None:
    """Replace an evaluation like a process that has just read it."""
    earlier = store.load_evaluation(fingerprint, architecture)
    assert earlier is not None
    assert store.replace_evaluation(fingerprint, architecture, earlier=earlier, refined=evaluation)
