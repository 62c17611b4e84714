"""Who works on which trial: claims, signs of life, and what becomes of a dead process's trial.

Every function runs in the caller's transaction; one that claims holds the study against others.
"""

import itertools
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from studies.owner import Owner, is_lost, this_process
from studies.records import TRANSIENT_FAILURES, Trial, TrialKind
from studies.storage.schema import TRIALS
from studies.storage.trials import read_trial, read_trials

# Deaths of the process in one stage of one trial, after which it is taken for their cause.
_MOST_DEATHS = 3


class TrialTaken(Exception):
    """Another process has taken this trial over; evaluations that are done stay remembered."""


def claim_candidate(connection: sa.Connection, study: int, wanted: int) -> Trial | None:
    """The candidate that this process works on next; None once `wanted` are ended or running.

    An interrupted one comes first, its architecture drawn already. A trial whose process died is
    interrupted; after several deaths in one stage it has failed.
    """
    _release_dead(connection, study)
    candidates = (TRIALS.c.study == study) & (TRIALS.c.kind == "candidate")
    states = connection.execute(
        sa.select(TRIALS.c.id, TRIALS.c.state).where(candidates).order_by(TRIALS.c.number)
    ).all()
    interrupted = [row.id for row in states if row.state == "interrupted"]
    if len(states) - len(interrupted) >= wanted:
        return None
    if interrupted:
        return _take_up(connection, interrupted[0])
    return _reserve(connection, study, "candidate")


def claim_reference(connection: sa.Connection, study: int, name: str) -> Trial | None:
    """The trial of a reference model; None if it is ended or another process works on it.

    One that failed for a reason that may have been the device's is tried again.
    """
    _release_dead(connection, study)
    row = connection.execute(
        sa.select(TRIALS.c.id, TRIALS.c.state, TRIALS.c.failure).where(
            TRIALS.c.study == study, TRIALS.c.reference == name
        )
    ).one_or_none()
    if row is None:
        return _reserve(connection, study, "reference", name)
    if row.state == "interrupted" or row.failure in TRANSIENT_FAILURES:
        return _take_up(connection, row.id)
    return None


def change(connection: sa.Connection, trial: Trial, **columns: Any) -> None:
    """Changes a running trial of this process, which is also a sign of life."""
    own = (TRIALS.c[name] == value for name, value in _columns(this_process()).items())
    changed = connection.execute(
        TRIALS.update()
        .where(TRIALS.c.id == trial.id, TRIALS.c.state == "running", *own)
        .values(seen_at=datetime.now(UTC), **columns)
    )
    if changed.rowcount != 1:
        raise TrialTaken(f"trial {trial.number} of {trial.study} is no longer this process's")


def interrupt(connection: sa.Connection, trial: Trial) -> None:
    """Leaves a running trial of this process for later."""
    change(connection, trial)
    _release(connection, trial)


def _reserve(
    connection: sa.Connection, study: int, kind: TrialKind, reference: str | None = None
) -> Trial:
    """A new trial of this process, with the first number that is free."""
    siblings = (TRIALS.c.study == study) & (TRIALS.c.kind == kind)
    taken = set(connection.scalars(sa.select(TRIALS.c.number).where(siblings)))
    now = datetime.now(UTC)
    row = connection.execute(
        TRIALS.insert()
        .values(
            study=study,
            kind=kind,
            number=next(number for number in itertools.count() if number not in taken),
            reference=reference,
            state="running",
            curve="[]",
            deaths=0,
            started_at=now,
            seen_at=now,
            **_columns(this_process()),
        )
        .returning(TRIALS.c.id)
    ).one()
    return read_trial(connection, row.id)


def _take_up(connection: sa.Connection, trial_id: int) -> Trial:
    """An interrupted or failed trial becomes this process's and runs again."""
    connection.execute(
        TRIALS.update()
        .where(TRIALS.c.id == trial_id)
        .values(
            state="running",
            stage=None,
            failure=None,
            reason=None,
            ended_at=None,
            seen_at=datetime.now(UTC),
            **_columns(this_process()),
        )
    )
    return read_trial(connection, trial_id)


def _release(connection: sa.Connection, trial: Trial) -> None:
    """Interrupts a trial; one that has no architecture yet is as if it never was."""
    row = TRIALS.c.id == trial.id
    if connection.execute(TRIALS.delete().where(row, TRIALS.c.architecture.is_(None))).rowcount:
        return
    connection.execute(
        TRIALS.update()
        .where(row)
        .values(state="interrupted", progress=None, progress_text=None, **_columns(None))
    )


def _release_dead(connection: sa.Connection, study: int) -> None:
    """Interrupts the trials whose process died or fell silent; fails those that keep killing it."""
    running = (TRIALS.c.study == study) & (TRIALS.c.state == "running")
    for trial in read_trials(connection, running):
        assert trial.owner is not None
        if not is_lost(trial.owner, trial.seen_at):
            continue
        row = TRIALS.c.id == trial.id
        died = TRIALS.update().where(row).values(deaths=TRIALS.c.deaths + 1)
        deaths = connection.scalar(died.returning(TRIALS.c.deaths))
        assert deaths is not None
        if trial.model is None or deaths < _MOST_DEATHS:
            _release(connection, trial)
            continue
        where = f"in its {trial.stage} stage" if trial.stage else "before its first stage"
        connection.execute(
            TRIALS.update()
            .where(row)
            .values(
                state="failed",
                failure="process died",
                reason=f"the process died {deaths} times {where}",
                ended_at=datetime.now(UTC),
            )
        )


def _columns(owner: Owner | None) -> dict[str, Any]:
    if owner is None:
        return {"host": None, "pid": None, "process_started": None}
    return {"host": owner.host, "pid": owner.pid, "process_started": owner.started}
