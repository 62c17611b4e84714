"""Claims of trials by processes, and the release of trials whose process died.

Every function runs in the caller's transaction. Before a function that claims is called, the caller
locks the study, so that two processes never claim the same trial.
"""

import itertools
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from studies.owner import Owner, is_lost, this_process
from studies.records import TRANSIENT_FAILURES, Trial, TrialKind
from studies.storage.changes import lock_evaluations
from studies.storage.schema import TRIALS
from studies.storage.trials import read_trial, read_trials

# If the process dies this many times in one stage of a trial, the trial is considered the cause.
_MOST_DEATHS = 3


class TrialTaken(Exception):
    """Another process has taken over this trial; finished evaluations stay in the cache."""


def claim_candidate(connection: sa.Connection, study: int, total: int) -> Trial | None:
    """Claim the candidate that this process works on next.

    Interrupted candidates, whose architecture has already been drawn, come before new ones. A trial
    whose process died counts as interrupted, and as failed after three deaths in one stage.

    Args:
        connection: An open transaction.
        study: The id of the study.
        total: The total number of candidates, including finished ones.

    Returns:
        The candidate, or None if `total` candidates have ended or are running.
    """
    _release_dead(connection, study)
    candidates = (TRIALS.c.study == study) & (TRIALS.c.kind == "candidate")
    states = connection.execute(
        sa.select(TRIALS.c.id, TRIALS.c.state).where(candidates).order_by(TRIALS.c.number)
    ).all()
    interrupted = [row.id for row in states if row.state == "interrupted"]
    if len(states) - len(interrupted) >= total:
        return None
    if interrupted:
        return _resume(connection, interrupted[0])
    return _reserve(connection, study, "candidate")


def claim_reference(connection: sa.Connection, study: int, name: str) -> Trial | None:
    """Claim the trial of a reference model.

    A trial that failed for a reason that the device may have caused is retried.

    Args:
        connection: An open transaction.
        study: The id of the study.
        name: The name of the reference model.

    Returns:
        The trial, or None if it has ended or another process is working on it.
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
        return _resume(connection, row.id)
    return None


def update_trial(connection: sa.Connection, trial: Trial, **columns: Any) -> None:
    """Update a running trial of this process, and record that the process is alive.

    Args:
        connection: An open transaction.
        trial: The trial.
        **columns: New values of columns of TRIALS.

    Raises:
        TrialTaken: This process does not own the trial any more.
    """
    own = (TRIALS.c[name] == value for name, value in _columns(this_process()).items())
    changed = connection.execute(
        TRIALS.update()
        .where(TRIALS.c.id == trial.id, TRIALS.c.state == "running", *own)
        .values(seen_at=datetime.now(UTC), **columns)
    )
    if changed.rowcount != 1:
        raise TrialTaken(f"trial {trial.number} of {trial.study} now belongs to another process")


def interrupt(connection: sa.Connection, trial: Trial) -> None:
    """Interrupt a running trial of this process, so that it can be resumed later.

    Raises:
        TrialTaken: This process does not own the trial any more.
    """
    update_trial(connection, trial)
    _release(connection, trial)


def _reserve(
    connection: sa.Connection, study: int, kind: TrialKind, reference: str | None = None
) -> Trial:
    """Insert a new trial of this process, with the lowest free number."""
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


def _resume(connection: sa.Connection, trial_id: int) -> Trial:
    """Make this process the owner of an interrupted or failed trial, which runs again."""
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
    """Interrupt a trial, or delete it if it has no architecture yet."""
    row = TRIALS.c.id == trial.id
    if connection.execute(TRIALS.delete().where(row, TRIALS.c.architecture.is_(None))).rowcount:
        return
    connection.execute(
        TRIALS.update()
        .where(row)
        .values(state="interrupted", progress=None, progress_text=None, **_columns(None))
    )


def _release_dead(connection: sa.Connection, study: int) -> None:
    """Interrupt the trials whose process died; fail those whose process died repeatedly."""
    running = (TRIALS.c.study == study) & (TRIALS.c.state == "running")
    dead = [trial for trial in read_trials(connection, running) if _is_dead(trial)]
    if dead:
        lock_evaluations(connection)
    for trial in dead:
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


def _is_dead(trial: Trial) -> bool:
    assert trial.owner is not None
    return is_lost(trial.owner, trial.seen_at)


def _columns(owner: Owner | None) -> dict[str, Any]:
    if owner is None:
        return {"host": None, "pid": None, "process_started": None}
    return {"host": owner.host, "pid": owner.pid, "process_started": owner.started}
