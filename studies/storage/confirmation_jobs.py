"""What is trained or timed once more: who works on it, how it ended, and what it found.

Every function runs in the caller's transaction.
"""

from collections import defaultdict
from datetime import UTC, datetime

import sqlalchemy as sa

from evaluators.evaluator import CurvePoint, FailureKind, Score
from studies.owner import Owner, is_lost, this_process
from studies.records import TRANSIENT_FAILURES, ConfirmationRun, ConfirmationStage
from studies.storage.database import Database
from studies.storage.evaluation_cache import read_curve, read_score
from studies.storage.schema import EVALUATIONS, REPEATS, SCORES, TRIALS


def claim(database: Database, connection: sa.Connection, repeat: ConfirmationStage) -> bool:
    """Whether it is this process's from now on: not if it has ended, or a living process has it.

    One that failed for a reason that may have been the device's is tried again.
    """
    if database.insert_new(
        connection,
        REPEATS,
        trial=repeat.trial,
        fingerprint=repeat.fingerprint,
        stage=repeat.stage,
        seed=repeat.seed,
        token_budget=repeat.token_budget,
        seen_at=datetime.now(UTC),
        **_columns(this_process()),
    ):
        return True
    row = connection.execute(sa.select(REPEATS).where(_key(repeat)).with_for_update()).one_or_none()
    if row is None:  # given up in this moment
        return claim(database, connection, repeat)
    if row.ended_at is None:
        free = is_lost(_owner(row), row.seen_at)
    else:
        free = row.failure in TRANSIENT_FAILURES
    if free:
        again = REPEATS.update().where(_key(repeat))
        again = again.values(seconds=None, failure=None, reason=None, ended_at=None)
        again = again.values(seen_at=datetime.now(UTC), **_columns(this_process()))
        connection.execute(again)
    return free


def renew_confirmation(connection: sa.Connection, repeat: ConfirmationStage) -> None:
    """The process that works on it lives."""
    connection.execute(REPEATS.update().where(_own(repeat)).values(seen_at=datetime.now(UTC)))


def end(
    connection: sa.Connection,
    repeat: ConfirmationStage,
    *,
    seconds: float,
    failure: FailureKind | None = None,
    reason: str | None = None,
) -> None:
    """A repeat of this process is done; one that another has taken over since stays theirs."""
    now = datetime.now(UTC)
    connection.execute(
        REPEATS.update()
        .where(_own(repeat))
        .values(seconds=seconds, failure=failure, reason=reason, seen_at=now, ended_at=now)
    )


def give_up(connection: sa.Connection, repeat: ConfirmationStage) -> None:
    """A repeat of this process that has not ended is as if it never was."""
    connection.execute(REPEATS.delete().where(_own(repeat)))


def read_repeats(connection: sa.Connection, study: int) -> tuple[ConfirmationRun, ...]:
    """Of a study, by its id; those that ended in the order in which they did, behind the others."""
    of_study = sa.select(TRIALS.c.id).where(TRIALS.c.study == study)
    rows = connection.execute(
        sa.select(REPEATS, TRIALS.c.number, TRIALS.c.architecture)
        .join(TRIALS)
        .where(REPEATS.c.trial.in_(of_study))
        .order_by(REPEATS.c.ended_at, REPEATS.c.trial)
    ).all()
    # Most studies have none.
    if not rows:
        return ()
    prints = {row.fingerprint for row in rows}
    scores: dict[tuple[str, str], list[Score]] = defaultdict(list)
    found = sa.select(SCORES).where(SCORES.c.fingerprint.in_(prints)).order_by(SCORES.c.position)
    for score in connection.execute(found):
        scores[score.fingerprint, score.architecture].append(read_score(score))
    curves: dict[tuple[str, str], tuple[CurvePoint, ...]] = {
        (row.fingerprint, row.architecture): read_curve(row.curve)
        for row in connection.execute(
            sa.select(EVALUATIONS).where(EVALUATIONS.c.fingerprint.in_(prints))
        )
    }
    return tuple(
        ConfirmationRun(
            repeat=ConfirmationStage(
                trial=row.trial,
                stage=row.stage,
                fingerprint=row.fingerprint,
                seed=row.seed,
                token_budget=row.token_budget,
            ),
            number=row.number,
            owner=_owner(row),
            seen_at=row.seen_at,
            ended_at=row.ended_at,
            seconds=row.seconds,
            failure=row.failure,
            reason=row.reason,
            scores=tuple(scores[row.fingerprint, row.architecture]),
            curve=curves.get((row.fingerprint, row.architecture), ()),
        )
        for row in sorted(rows, key=lambda row: row.ended_at is not None)
    )


def _key(repeat: ConfirmationStage) -> sa.ColumnElement[bool]:
    return (REPEATS.c.trial == repeat.trial) & (REPEATS.c.fingerprint == repeat.fingerprint)


def _own(repeat: ConfirmationStage) -> sa.ColumnElement[bool]:
    """Under way, and this process's."""
    own = (REPEATS.c[name] == value for name, value in _columns(this_process()).items())
    return sa.and_(_key(repeat), REPEATS.c.ended_at.is_(None), *own)


def _columns(owner: Owner) -> dict[str, str | int]:
    return {"host": owner.host, "pid": owner.pid, "process_started": owner.started}


def _owner(row: sa.Row[tuple[object, ...]]) -> Owner:
    return Owner(host=row.host, pid=row.pid, started=row.process_started)
