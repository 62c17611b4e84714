"""Judges ended candidates again, from their stored scores, by the limits that hold now.

A limit or a score may have changed since a candidate ended. Nothing is measured for this.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from studies.records import Outcome, Trial
from studies.spec.limits import judge, limits
from studies.spec.study_spec import StudySpec
from studies.storage.store import Store

# Earlier releases did not record which limits a candidate exceeded, only these sentences.
_EARLIER_REASON = "is above the budget of"
_EARLIER_PREDICTION = re.compile(r"([\w@]+): predicted at ([\d.,e+]+) to")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejudgement:
    """The candidates whose outcome changed.

    Attributes:
        reopened: The candidates that were refused and no longer certainly exceed a limit; they will
            be resumed.
        refused: The candidates that were complete or stopped early, with their new outcomes.
    """

    reopened: tuple[Trial, ...]
    refused: tuple[Trial, ...]

    def __str__(self) -> str:
        """The changes as clauses, such as `3 candidates exceed the limits now`."""
        clauses = []
        for trials, one, several in (
            (
                self.reopened,
                "that was refused meets the limits now and is resumed",
                "that were refused meet the limits now and are resumed",
            ),
            (self.refused, "exceeds the limits now", "exceed the limits now"),
        ):
            if len(trials) == 1:
                clauses.append(f"1 candidate {one}")
            elif trials:
                clauses.append(f"{len(trials)} candidates {several}")
        return "; ".join(clauses)


def rejudge(spec: StudySpec, store: Store) -> Rejudgement:
    """Judge every ended candidate of a study again.

    Args:
        spec: The study with its present limits.
        store: The database.
    """
    reopened, refused = [], []
    for trial in store.trials(spec.name):
        if trial.outcome is None or trial.duplicate_of is not None:
            continue
        match trial.outcome.state:
            case "infeasible":
                if _meets_limits_now(spec, trial, trial.outcome) and store.reopen(trial):
                    reopened.append(trial)
            case "complete" | "stopped":
                judgement = judge(spec, trial.scores)
                outcome = Outcome(
                    state="infeasible",
                    stage=trial.outcome.stage,
                    reason=judgement.reason,
                    exceeded=judgement.exceeded,
                )
                if judgement.exceeded and store.refuse(trial, outcome):
                    refused.append(replace(trial, outcome=outcome))
            case "failed":
                pass
    return Rejudgement(reopened=tuple(reopened), refused=tuple(refused))


def _meets_limits_now(spec: StudySpec, trial: Trial, outcome: Outcome) -> bool:
    """Return whether a trial was refused because of limits none of which it certainly exceeds."""
    reason = outcome.reason or ""
    exceeded: Mapping[str, float] = outcome.exceeded or {
        name: float(least.replace(",", "")) for name, least in _EARLIER_PREDICTION.findall(reason)
    }
    if not exceeded and _EARLIER_REASON not in reason:
        return False  # for example because the runtime does not support it
    if judge(spec, trial.scores).exceeded:
        return False
    most = limits(spec)
    predicted = {name: least for name, least in exceeded.items() if name not in trial.values}
    return not any(name in most and least > most[name] for name, least in predicted.items())
