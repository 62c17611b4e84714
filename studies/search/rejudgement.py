"""Judges ended candidates again, from their stored scores, by the limits that hold now.

A limit or a score may have changed since a candidate ended. Nothing is measured for this.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from studies.records import Outcome, Trial
from studies.spec.limits import judge, limits
from studies.spec.study_spec import StudySpec
from studies.storage.store import Store

# Earlier releases did not record which limits a candidate exceeded, only these sentences.
_EARLIER_REASON = "is above the budget of"
_EARLIER_PREDICTION = re.compile(r"([\w@]+): predicted at ([\d.,e+]+) to")
_MOST_NAMED = 3  # candidates


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
        """The changes as clauses, such as `1 candidate exceeds a limit now: trial 3 (...)`."""
        reopened = _clause(
            [trial.title for trial in self.reopened],
            "that was refused meets the limits now and is resumed",
            "that were refused meet the limits now and are resumed",
        )
        refused = _clause(
            [_with_reason(trial) for trial in self.refused],
            "exceeds a limit now",
            "exceed a limit now",
        )
        return "; ".join(filter(None, (reopened, refused)))


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


def _clause(candidates: Sequence[str], one: str, several: str) -> str:
    """Count candidates and list them after a predicate in the singular or the plural."""
    if not candidates:
        return ""
    count = len(candidates)
    subject = f"1 candidate {one}" if count == 1 else f"{count} candidates {several}"
    return f"{subject}: {_listed(candidates)}"


def _with_reason(trial: Trial) -> str:
    assert trial.outcome is not None
    return f"{trial.title} ({trial.outcome.reason})"


def _listed(named: Sequence[str]) -> str:
    """List the first names, and count the others."""
    left = len(named) - _MOST_NAMED
    return ", ".join(named[:_MOST_NAMED]) + (f" and {left} more" if left > 0 else "")


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
