"""Changes of ended trials: new scores after another measurement, and outcomes judged again.

Every function runs in the caller's transaction. Each change gives the trial a higher `revision`
than any other, by which readers that follow a study find it.
"""

import json
from collections.abc import Collection

import sqlalchemy as sa

from studies.records import Outcome, Trial
from studies.storage.schema import STAGES, TRIALS, VERSION


def exceeded_text(outcome: Outcome) -> str | None:
    """Return the exceeded limits of an outcome as the text that the database stores."""
    return json.dumps(dict(outcome.exceeded)) if outcome.exceeded else None


def lock_evaluations(connection: sa.Connection) -> None:
    """Make other transactions that call this wait until this one ends.

    Scores, calibrations and revisions are computed from what the database holds, so that two
    transactions that change them at the same time would lose one of the changes. Revisions become
    visible in ascending order, since the transaction that gives one locks first, and keeps the lock
    until its commit. So does a transaction that ends a trial: otherwise, one that changes scores at
    the same time could overlook that the trial has ended and must get a revision.

    SQLite lets only one transaction write at a time.
    """
    connection.execute(sa.select(VERSION.c.version).with_for_update())


def mark_changed(
    connection: sa.Connection, fingerprints: Collection[str], architecture: str | None = None
) -> None:
    """Give a new revision to every ended trial that has an evaluation under these fingerprints.

    Args:
        connection: An open transaction.
        fingerprints: The fingerprints of the changed evaluations.
        architecture: The hash of the architecture that they are of; None for all.
    """
    lock_evaluations(connection)
    changed = sa.select(STAGES.c.trial).where(STAGES.c.fingerprint.in_(fingerprints))
    update = TRIALS.update().where(TRIALS.c.id.in_(changed), TRIALS.c.ended_at.is_not(None))
    if architecture is not None:
        update = update.where(TRIALS.c.architecture == architecture)
    connection.execute(update.values(revision=_next_revision()))


def reopen(connection: sa.Connection, trial: Trial) -> bool:
    """Let a trial that was refused be resumed, with its duplicates.

    Args:
        connection: An open transaction.
        trial: The trial as it was judged; nothing happens if it has changed since.

    Returns:
        Whether it was reopened.
    """
    return _update(
        connection,
        trial,
        state="interrupted",
        stage=None,
        reason=None,
        exceeded=None,
        ended_at=None,
        duplicate_of=None,
        process=None,
    )


def refuse(connection: sa.Connection, trial: Trial, outcome: Outcome) -> bool:
    """End a complete or stopped trial as infeasible, with its duplicates.

    Args:
        connection: An open transaction.
        trial: The trial as it was judged; nothing happens if it has changed since.
        outcome: The new outcome.

    Returns:
        Whether it was refused.
    """
    return _update(
        connection,
        trial,
        state=outcome.state,
        stage=outcome.stage,
        reason=outcome.reason,
        exceeded=exceeded_text(outcome),
    )


def _update(connection: sa.Connection, trial: Trial, **columns: str | None) -> bool:
    assert trial.outcome is not None
    lock_evaluations(connection)
    same = (TRIALS.c.state == trial.outcome.state) & (TRIALS.c.revision == trial.revision)
    changed = connection.execute(
        TRIALS.update()
        .where(TRIALS.c.id == trial.id, same)
        .values(revision=_next_revision(), **columns)
    )
    if not changed.rowcount:
        return False
    study = sa.select(TRIALS.c.study).where(TRIALS.c.id == trial.id).scalar_subquery()
    connection.execute(
        TRIALS.update()
        .where(
            TRIALS.c.study == study,
            TRIALS.c.kind == "candidate",
            TRIALS.c.duplicate_of == trial.number,
        )
        .values(revision=_next_revision(), **columns)
    )
    return True


def _next_revision() -> sa.ScalarSelect[int]:
    """Return a number that no trial has as its revision yet."""
    other = TRIALS.alias()
    return sa.select(sa.func.coalesce(sa.func.max(other.c.revision), 0) + 1).scalar_subquery()
