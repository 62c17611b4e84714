"""Confirmation jobs in the database: which process works on each, how it ended, and its results."""

from collections import defaultdict
from datetime import UTC, datetime

import sqlalchemy as sa

from evaluators.evaluator import CurvePoint, FailureKind, Score
from studies.owner import Owner, this_process
from studies.records import TRANSIENT_FAILURES, ConfirmationKey, ConfirmationRun
from studies.storage.calibrations import read_calibration_keys
from studies.storage.database import Database, StorePart
from studies.storage.decoding import fetch
from studies.storage.evaluation_rows import SCORE_COLUMNS, read_curve, read_score
from studies.storage.outages import retried
from studies.storage.schema import EVALUATIONS, PROCESSES, REPEATS, SCORES, TRIALS
from studies.storage.signs_of_life import PROCESS_COLUMNS, own_token, read_owner
from studies.storage.studies import study_id


class DatabaseConfirmations(StorePart):
    """The confirmation jobs of all studies in the database."""

    @retried
    def confirmation_runs(self, study: str) -> tuple[ConfirmationRun, ...]:
        """Return the confirmation runs of a study.

        Returns:
            The unfinished runs, followed by the others in the order in which they ended.
        """
        with self._database.read() as connection:
            return _read_runs(connection, study_id(connection, study))

    @retried
    def claim_confirmation(self, key: ConfirmationKey) -> bool:
        """Claim a confirmation job for this process.

        A job that failed for a reason that the device may have caused is retried.

        Returns:
            Whether this process owns the job now. It does not if the job has ended or a living
            process is working on it.
        """
        with self._database.write() as connection:
            return _claim(self._database, connection, key)

    @retried
    def end_confirmation(
        self,
        key: ConfirmationKey,
        *,
        seconds: float,
        failure: FailureKind | None = None,
        reason: str | None = None,
    ) -> None:
        """End a confirmation job of this process, unless another process has taken it over.

        If it did not fail, its results are in the cache, under its fingerprint.

        Args:
            key: The job.
            seconds: The time that it took.
            failure: The kind of failure, if it failed.
            reason: The reason for the failure, as a sentence.
        """
        with self._database.write() as connection:
            ended = {"seconds": seconds, "failure": failure, "reason": reason}
            connection.execute(
                REPEATS.update()
                .where(_own(connection, key))
                .values(ended_at=datetime.now(UTC), **ended)
            )

    @retried
    def release_confirmation(self, key: ConfirmationKey) -> None:
        """Delete an unfinished job of this process, so that it can be claimed again."""
        with self._database.write() as connection:
            connection.execute(REPEATS.delete().where(_own(connection, key)))


def _claim(database: Database, connection: sa.Connection, key: ConfirmationKey) -> bool:
    if database.insert_new(
        connection,
        REPEATS,
        trial=key.trial,
        fingerprint=key.fingerprint,
        stage=key.stage,
        seed=key.seed,
        token_budget=key.token_budget,
        process=own_token(connection),
    ):
        return True
    select = sa.select(REPEATS, *PROCESS_COLUMNS).join(PROCESSES).where(_is_job(key))
    row = connection.execute(select.with_for_update(of=REPEATS)).one_or_none()
    if row is None:  # its owner released it at this moment
        return _claim(database, connection, key)
    owner = _owner(row)
    if row.ended_at is None:
        free = owner == this_process() or database.signs_of_life.is_lost(owner)
    else:
        free = row.failure in TRANSIENT_FAILURES
    if free:
        update = REPEATS.update().where(_is_job(key))
        update = update.values(seconds=None, failure=None, reason=None, ended_at=None)
        connection.execute(update.values(process=own_token(connection)))
    return free


def _read_runs(connection: sa.Connection, study: int) -> tuple[ConfirmationRun, ...]:
    of_study = sa.select(TRIALS.c.id).where(TRIALS.c.study == study)
    rows = fetch(
        connection,
        sa.select(REPEATS, TRIALS.c.number, TRIALS.c.architecture, *PROCESS_COLUMNS)
        .join(TRIALS, REPEATS.c.trial == TRIALS.c.id)
        .join(PROCESSES, REPEATS.c.process == PROCESSES.c.token)
        .where(REPEATS.c.trial.in_(of_study))
        .order_by(REPEATS.c.ended_at, REPEATS.c.trial),
    )
    # Most studies have none.
    if not rows:
        return ()
    prints = {row.fingerprint for row in rows}
    scores: dict[tuple[str, str], list[Score]] = defaultdict(list)
    keys = read_calibration_keys(connection)
    found = (
        sa.select(SCORES.c.fingerprint, SCORES.c.architecture, *SCORE_COLUMNS)
        .where(SCORES.c.fingerprint.in_(prints))
        .order_by(SCORES.c.position)
    )
    for fingerprint, architecture, *score in fetch(connection, found):
        scores[fingerprint, architecture].append(read_score(score, keys))
    curves: dict[tuple[str, str], tuple[CurvePoint, ...]] = {
        (row.fingerprint, row.architecture): read_curve(row.curve, row.fingerprint)
        for row in fetch(
            connection, sa.select(EVALUATIONS).where(EVALUATIONS.c.fingerprint.in_(prints))
        )
    }
    return tuple(
        ConfirmationRun(
            key=ConfirmationKey(
                trial=row.trial,
                stage=row.stage,
                fingerprint=row.fingerprint,
                seed=row.seed,
                token_budget=row.token_budget,
            ),
            number=row.number,
            owner=_owner(row),
            ended_at=row.ended_at,
            seconds=row.seconds,
            failure=row.failure,
            reason=row.reason,
            scores=tuple(scores[row.fingerprint, row.architecture]),
            curve=curves.get((row.fingerprint, row.architecture), ()),
        )
        for row in sorted(rows, key=lambda row: row.ended_at is not None)
    )


def _is_job(key: ConfirmationKey) -> sa.ColumnElement[bool]:
    return (REPEATS.c.trial == key.trial) & (REPEATS.c.fingerprint == key.fingerprint)


def _own(connection: sa.Connection, key: ConfirmationKey) -> sa.ColumnElement[bool]:
    """Select the job if it is unfinished and belongs to this process."""
    own = REPEATS.c.process == own_token(connection)
    return sa.and_(_is_job(key), REPEATS.c.ended_at.is_(None), own)


def _owner(row: sa.Row[tuple[object, ...]]) -> Owner:
    owner = read_owner(row)
    assert owner is not None, "jobs are never without a process"
    return owner
