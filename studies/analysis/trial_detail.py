"""One trial with everything that is stored about it."""

from collections.abc import Mapping
from dataclasses import dataclass

from evaluators.calibration import Calibration, CalibrationKey
from evaluators.evaluator import Evaluation
from search_space.architecture import Architecture
from studies.records import Trial
from studies.spec.study_spec import StudySpec, from_json
from studies.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialDetail:
    """A trial with its architecture and the full results of its stages.

    Attributes:
        spec: The settings of the study.
        trial: The trial.
        architecture: Its architecture; None until one has been drawn.
        evaluations: The evaluation of each finished stage with its raw samples, by stage name.
        calibrations: The calibrations that its times were computed with, by what they apply to.
    """

    spec: StudySpec
    trial: Trial
    architecture: Architecture | None
    evaluations: Mapping[str, Evaluation]
    calibrations: Mapping[CalibrationKey, Calibration]


def detail(store: Store, study: str, name: str) -> TrialDetail:
    """Return everything about one trial.

    Args:
        store: The database.
        study: The name of the study.
        name: The number of a candidate, or the name of a reference model.

    Raises:
        ValueError: The database has no such study, or the study has no such trial.
    """
    spec = from_json(store.study(study).spec, study)
    candidates, references = store.trials(study), store.trials(study, "reference")
    found = [trial for trial in (*candidates, *references) if str(trial.name) == name]
    if not found:
        ends = dict.fromkeys(str(trial.number) for trial in (*candidates[:1], *candidates[-1:]))
        known = [" to ".join(ends), *(str(trial.name) for trial in references)]
        raise ValueError(
            f"trial: '{name}' is neither a candidate number nor a reference model of "
            f"'{study}', which has {' and '.join(filter(None, known)) or 'none yet'}"
        )
    trial = found[0]
    return TrialDetail(
        spec=spec,
        trial=trial,
        architecture=None if trial.model is None else store.architecture(trial.model.hash),
        evaluations=store.evaluations(trial),
        calibrations={
            calibration.key: calibration
            for calibration in store.calibrations({run.fingerprint for run in trial.stages})
        },
    )
