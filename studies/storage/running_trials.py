"""Updates of a running trial: its architecture, its stages and its outcome.

Every function runs in the caller's transaction, and raises `TrialTaken` if this process does not
own the trial any more.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import sqlalchemy as sa

from evaluators.evaluator import Progress
from search_space.architecture import Architecture
from studies.records import Outcome, StageRun, Trial
from studies.storage.changes import exceeded_text, lock_evaluations
from studies.storage.claims import is_ended_here, update_trial
from studies.storage.database import Database
from studies.storage.evaluation_rows import curve_text, save_architecture
from studies.storage.schema import STAGES
from studies.storage.studies import add_rejections
from studies.storage.trials import read_trial


def begin(
    database: Database,
    connection: sa.Connection,
    trial: Trial,
    architecture: Architecture,
    *,
    optuna_number: int | None,
    predicted_latency: float | None,
    rejections: Mapping[str, int],
) -> Trial:
    """Record the architecture of a claimed trial and the draws that were rejected before it.

    Args:
        database: The database.
        connection: An open transaction.
        trial: The claimed trial.
        architecture: The architecture to evaluate.
        optuna_number: The number of the Optuna trial that drew it; None for a reference model.
        predicted_latency: The predicted latency of a candidate that was matched to one; None for
            all others.
        rejections: The number of draws that each rule of the space rejected.

    Returns:
        The updated trial.
    """
    digest = save_architecture(database, connection, architecture)
    update_trial(
        connection,
        trial,
        architecture=digest,
        optuna_number=optuna_number,
        predicted_latency=predicted_latency,
    )
    for rule, draws in rejections.items():
        add_rejections(database, connection, trial.study, rule, draws)
    return read_trial(connection, trial.id)


def enter(connection: sa.Connection, trial: Trial, stage: str) -> None:
    """Record that the trial has entered a stage."""
    update_trial(connection, trial, stage=stage, progress=0.0, progress_text="")


def report(connection: sa.Connection, trial: Trial, progress: Progress) -> None:
    """Record the progress within the current stage."""
    update_trial(connection, trial, progress=progress.done, progress_text=progress.text)


def leave(connection: sa.Connection, trial: Trial, run: StageRun, *, finished: bool) -> None:
    """Record the time that a stage took, in addition to that of earlier attempts.

    Args:
        connection: An open transaction.
        trial: The trial.
        run: The stage, the fingerprint of its evaluator, and the time of this attempt.
        finished: Whether the evaluation is in the cache.
    """
    here = (STAGES.c.trial == trial.id) & (STAGES.c.stage == run.stage)
    update = STAGES.update().where(here)
    update = update.values(fingerprint=run.fingerprint, seconds=STAGES.c.seconds + run.seconds)
    if connection.execute(update).rowcount:
        update_trial(connection, trial)
        return
    before = sa.select(sa.func.count()).where(STAGES.c.trial == trial.id)
    connection.execute(
        STAGES.insert().values(
            trial=trial.id,
            position=connection.scalar(before),
            stage=run.stage,
            fingerprint=run.fingerprint,
            seconds=run.seconds,
        )
    )
    # Only finishing a stage for the first time is progress. When a trial is resumed, its finished
    # stages are cache hits, and the stage that kills the process is still to come.
    update_trial(connection, trial, **({"deaths": 0, "kills": 0} if finished else {}))


def end(
    connection: sa.Connection, trial: Trial, outcome: Outcome, *, earlier_duplicate: Trial | None
) -> Trial:
    """End a trial.

    Args:
        connection: An open transaction.
        trial: The trial.
        outcome: How it ended.
        earlier_duplicate: The earlier trial whose stages, and therefore scores, it shares.

    Returns:
        The updated trial.
    """
    lock_evaluations(connection)
    if is_ended_here(connection, trial):  # by an attempt whose connection failed
        return read_trial(connection, trial.id)
    update_trial(
        connection,
        trial,
        state=outcome.state,
        stage=outcome.stage,
        failure=outcome.failure,
        reason=outcome.reason,
        curve=curve_text(outcome.curve),
        estimated_loss=outcome.estimated_loss,
        exceeded=exceeded_text(outcome),
        duplicate_of=None if earlier_duplicate is None else earlier_duplicate.number,
        progress=None,
        progress_text=None,
        ended_at=datetime.now(UTC),
    )
    if earlier_duplicate is not None:
        shared = sa.select(
            sa.literal(trial.id),
            STAGES.c.position,
            STAGES.c.stage,
            STAGES.c.fingerprint,
            sa.literal(0.0),
        ).where(STAGES.c.trial == earlier_duplicate.id)
        connection.execute(STAGES.delete().where(STAGES.c.trial == trial.id))
        connection.execute(STAGES.insert().from_select(list(STAGES.c), shared))
    return read_trial(connection, trial.id)
