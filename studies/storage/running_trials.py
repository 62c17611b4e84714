"""A running trial: what it evaluates, the stages that it goes through, and how it ends.

Every function runs in the caller's transaction, and raises TrialTaken if this process does not own
the trial any more.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import sqlalchemy as sa

from evaluators.evaluator import Progress
from search_space.architecture import Architecture
from studies.records import Outcome, StageRun, Trial
from studies.storage.claims import change
from studies.storage.database import Database
from studies.storage.evaluation_cache import curve_text, keep_architecture
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
    rejections: Mapping[str, int],
) -> Trial:
    """Notes what a claimed trial evaluates, and the draws that rules refused before it."""
    digest = keep_architecture(database, connection, architecture)
    change(connection, trial, architecture=digest, optuna_number=optuna_number)
    for rule, draws in rejections.items():
        add_rejections(database, connection, trial.study, rule, draws)
    return read_trial(connection, trial.id)


def enter(connection: sa.Connection, trial: Trial, stage: str) -> None:
    change(connection, trial, stage=stage, progress=0.0, progress_text="")


def report(connection: sa.Connection, trial: Trial, progress: Progress) -> None:
    change(connection, trial, progress=progress.done, progress_text=progress.text)


def leave(connection: sa.Connection, trial: Trial, run: StageRun, *, finished: bool) -> None:
    """Adds what a stage took; `finished` if its evaluation is remembered."""
    here = (STAGES.c.trial == trial.id) & (STAGES.c.stage == run.stage)
    again = STAGES.update().where(here)
    again = again.values(fingerprint=run.fingerprint, seconds=STAGES.c.seconds + run.seconds)
    if connection.execute(again).rowcount:
        change(connection, trial)
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
    # Only a stage's first end is progress: when a trial is taken up again, the stages that were
    # finished are remembered, and the one that kills the process is still ahead.
    change(connection, trial, **({"deaths": 0} if finished else {}))


def end(
    connection: sa.Connection, trial: Trial, outcome: Outcome, *, earlier_duplicate: Trial | None
) -> Trial:
    """`twin` is the earlier one whose stages, and so whose scores, the trial shares."""
    change(
        connection,
        trial,
        state=outcome.state,
        stage=outcome.stage,
        failure=outcome.failure,
        reason=outcome.reason,
        curve=curve_text(outcome.curve),
        estimated_loss=outcome.estimated_loss,
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
