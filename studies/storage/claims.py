"""Claims of trials by processes, and the release of trials whose process died.

Every function runs in the caller's transaction. Before a function that claims is called, the caller
locks the study, so that two processes never claim the same trial.
"""

import itertools
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from studies.owner import Owner, SignsOfLife
from studies.records import TRANSIENT_FAILURES, Trial, TrialKind
from studies.storage.changes import lock_evaluations
from studies.storage.schema import TRIALS
from studies.storage.signs_of_life import has_run_out_of_memory, own_token
from studies.storage.trials import read_trial, read_trials

# After so many deaths of its process in one stage, a trial is considered the cause. It probably is
# if the kernel killed processes for lack of memory meanwhile. Otherwise it probably is not: users,
# batch systems and reboots end processes as well, whatever these work on.
_MOST_DEATHS = 3
_MOST_KILLS = 8


class TrialTaken(Exception):
    """Another process has taken over this trial; finished evaluations stay in the cache."""


def claim_candidate(
    connection: sa.Connection,
    study: int,
    total: int,
    signs: SignsOfLife,
    at_work: Collection[int] = (),
) -> Trial | None:
    """Claim the candidate that this process works on next.

    Candidates that were interrupted in an orderly way come first, since their architectures have
    already been drawn. Those whose process died come last: one that may be the cause delays no
    other.

    Args:
        connection: An open transaction.
        study: The id of the study.
        total: The total number of candidates, including finished ones.
        signs: The signs of life of other processes.
        at_work: The ids of the trials that this process works on, even if another process took
            them over and was interrupted in the meantime.

    Returns:
        The candidate, or None if `total` candidates have ended or are running.
    """
    _release_dead(connection, study, signs)
    candidates = (TRIALS.c.study == study) & (TRIALS.c.kind == "candidate")
    killed = TRIALS.c.deaths + TRIALS.c.kills
    states = connection.execute(
        sa.select(TRIALS.c.id, TRIALS.c.state, killed.label("killed"))
        .where(candidates)
        .order_by(killed, TRIALS.c.number)
    ).all()
    interrupted = [row for row in states if row.state == "interrupted" and row.id not in at_work]
    if len(states) - len(interrupted) >= total:
        return None
    if interrupted and (not interrupted[0].killed or len(states) >= total):
        return _resume(connection, interrupted[0].id)
    return _reserve(connection, study, "candidate")


def claimed_before(
    connection: sa.Connection, study: int, kind: TrialKind, at_work: Collection[int]
) -> Trial | None:
    """Return the trial of this kind that this process has claimed without knowing it, if any.

    A claim is repeated if its connection fails, although the first attempt may have taken effect.

    Args:
        connection: An open transaction.
        study: The id of the study.
        kind: The kind of trial.
        at_work: The ids of the trials that this process works on.
    """
    own = connection.scalar(
        sa.select(TRIALS.c.id).where(
            TRIALS.c.study == study,
            TRIALS.c.kind == kind,
            TRIALS.c.state == "running",
            TRIALS.c.process == own_token(connection),
            TRIALS.c.id.not_in(at_work),
        )
    )
    return None if own is None else read_trial(connection, own)


def claim_reference(
    connection: sa.Connection, study: int, name: str, signs: SignsOfLife
) -> Trial | None:
    """Claim the trial of a reference model.

    A trial that failed for a reason that the device may have caused is retried.

    Args:
        connection: An open transaction.
        study: The id of the study.
        name: The name of the reference model.
        signs: The signs of life of other processes.

    Returns:
        The trial, or None if it has ended or another process is working on it.
    """
    _release_dead(connection, study, signs)
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
    """Update a running trial of this process.

    Args:
        connection: An open transaction.
        trial: The trial.
        **columns: New values of columns of TRIALS.

    Raises:
        TrialTaken: This process does not own the trial any more.
    """
    own = (TRIALS.c.state == "running") & (TRIALS.c.process == own_token(connection))
    update = TRIALS.update().where(TRIALS.c.id == trial.id, own)
    changed = connection.execute(update.values(id=trial.id, **columns))
    if changed.rowcount != 1:
        raise TrialTaken(f"trial {trial.number} of {trial.study} now belongs to another process")


def is_ended_here(connection: sa.Connection, trial: Trial) -> bool:
    """Return whether this process has ended a trial since it claimed it."""
    ended = (TRIALS.c.process == own_token(connection)) & TRIALS.c.ended_at.is_not(None)
    return (
        connection.scalar(sa.select(TRIALS.c.id).where(TRIALS.c.id == trial.id, ended)) is not None
    )


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
            kills=0,
            started_at=datetime.now(UTC),
            process=own_token(connection),
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
            process=own_token(connection),
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
        .values(state="interrupted", progress=None, progress_text=None, process=None)
    )


def _release_dead(connection: sa.Connection, study: int, signs: SignsOfLife) -> None:
    """Interrupt the trials whose process died; fail those whose process died repeatedly."""
    running = (TRIALS.c.study == study) & (TRIALS.c.state == "running")
    found = read_trials(connection, running)
    dead = [trial for trial in found if trial.owner is not None and signs.is_lost(trial.owner)]
    if dead:
        lock_evaluations(connection)
    for trial in dead:
        assert trial.owner is not None
        row = TRIALS.c.id == trial.id
        reason = _verdict(connection, trial, trial.owner)
        if trial.model is None or reason is None:
            _release(connection, trial)
            continue
        where = f"in its {trial.stage} stage" if trial.stage else "before its first stage"
        connection.execute(
            TRIALS.update()
            .where(row)
            .values(
                state="failed",
                failure="process died",
                reason=f"{reason} {where}",
                ended_at=datetime.now(UTC),
            )
        )


def _verdict(connection: sa.Connection, trial: Trial, owner: Owner) -> str | None:
    """Count the death of a trial's process; return why the trial has failed, if it has."""
    is_from_memory = has_run_out_of_memory(connection, owner)
    count = TRIALS.c.deaths if is_from_memory else TRIALS.c.kills
    update = TRIALS.update().where(TRIALS.c.id == trial.id).values({count.name: count + 1})
    deaths, kills = connection.execute(update.returning(TRIALS.c.deaths, TRIALS.c.kills)).one()
    if deaths >= _MOST_DEATHS:
        return f"the process died {deaths} times while the kernel ran out of memory,"
    if kills >= _MOST_KILLS:
        return f"the process died {kills} times"
    return None
