"""What Optuna is told about trials that have ended."""

from optuna.trial import TrialState

from evaluators.scores import LOSS
from search_space.architecture import Architecture
from search_space.space.space_definition import check_sizes
from studies.records import Trial
from studies.spec.limits import excesses
from studies.spec.study_spec import StudySpec


def told_result(spec: StudySpec, trial: Trial) -> tuple[list[float] | None, TrialState]:
    """Return the values and the state that Optuna is told.

    A candidate that was stopped early is told as complete, with its estimated loss. If it were told
    as pruned, the sampler would learn nothing from it and keep proposing similar ones, because
    samplers for several objectives ignore the values of pruned trials. The candidate that stopped
    it dominates it, so it is never on the front.
    """
    assert trial.outcome is not None
    match trial.outcome.state:
        case "complete" | "stopped":
            values = told_scores(trial)
            names = [objective.name for objective in spec.objectives]
            return [values[name] for name in names], TrialState.COMPLETE
        case "infeasible":
            return None, TrialState.PRUNED
        case "failed":
            return None, TrialState.FAIL


def told_constraints(spec: StudySpec, trial: Trial, architecture: Architecture) -> dict[str, float]:
    """Return the excess over each rule and limit: at most 0 where it is kept.

    All complete trials have the same names. A latency to be matched is not among them, because its
    prediction changes, and the first candidates are not matched.
    """
    checks = check_sizes(architecture, spec.space, spec.target.quantization)
    over_limits = excesses(spec, told_scores(trial)).items()
    return {
        **{check.rule: check.excess for check in checks},
        **{f"{name}.max": excess for name, excess in over_limits},
    }


def told_scores(trial: Trial) -> dict[str, float]:
    """Return the scores of an ended trial, with the estimated loss of one that was stopped."""
    assert trial.outcome is not None
    if trial.outcome.estimated_loss is None:
        return trial.values
    return trial.values | {LOSS: trial.outcome.estimated_loss}


def told_identity(trial: Trial) -> dict[str, str | int]:
    """Return the attributes by which users of Optuna's own tools recognise the trial."""
    assert trial.model is not None
    assert trial.outcome is not None
    return {
        "trial": trial.name,
        "state": trial.outcome.state,
        "layout": trial.model.layout,
        "architecture": trial.model.hash,
    }
