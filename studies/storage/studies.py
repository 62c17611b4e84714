"""Studies as the tables hold them, and the draws that the rules of their spaces refused.

Every function runs in the caller's transaction.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from studies.records import Study
from studies.storage.database import Database
from studies.storage.schema import REJECTIONS, REPEATS, STAGES, STUDIES, TRIALS


def begin_study(database: Database, connection: sa.Connection, name: str, spec: str) -> Study:
    """The study of that name, which is begun with this specification unless it is there."""
    database.insert_new(connection, STUDIES, name=name, spec=spec, created_at=datetime.now(UTC))
    row = connection.execute(sa.select(STUDIES).where(STUDIES.c.name == name)).one()
    return _read_study(row)


def read_studies(connection: sa.Connection) -> tuple[Study, ...]:
    """In the order in which they were begun."""
    rows = connection.execute(sa.select(STUDIES).order_by(STUDIES.c.id)).all()
    return tuple(_read_study(row) for row in rows)


def study_id(connection: sa.Connection, name: str, *, lock: bool = False) -> int:
    """ValueError for a name that there is not.

    lock: until this transaction ends, others that want the lock wait (SQLite: always so).
    """
    select = sa.select(STUDIES.c.id).where(STUDIES.c.name == name)
    found = connection.scalar(select.with_for_update() if lock else select)
    if found is None:
        raise ValueError(f"study: '{name}' is not in this database")
    return int(found)


def delete_study(connection: sa.Connection, name: str) -> None:
    """With its trials; evaluations stay remembered."""
    study = study_id(connection, name)
    trials = sa.select(TRIALS.c.id).where(TRIALS.c.study == study)
    connection.execute(STAGES.delete().where(STAGES.c.trial.in_(trials)))
    connection.execute(REPEATS.delete().where(REPEATS.c.trial.in_(trials)))
    connection.execute(TRIALS.delete().where(TRIALS.c.study == study))
    connection.execute(REJECTIONS.delete().where(REJECTIONS.c.study == study))
    connection.execute(STUDIES.delete().where(STUDIES.c.id == study))


def add_rejections(
    database: Database, connection: sa.Connection, study: str, rule: str, draws: int
) -> None:
    """So many more draws that a rule refused."""
    key = study_id(connection, study)
    database.insert_new(connection, REJECTIONS, study=key, rule=rule, draws=0)
    connection.execute(
        REJECTIONS.update()
        .where(REJECTIONS.c.study == key, REJECTIONS.c.rule == rule)
        .values(draws=REJECTIONS.c.draws + draws)
    )


def read_rejections(connection: sa.Connection, study: str) -> dict[str, int]:
    """How many draws each rule refused."""
    chosen = REJECTIONS.c.study == study_id(connection, study)
    rows = connection.execute(sa.select(REJECTIONS).where(chosen)).all()
    return {row.rule: row.draws for row in rows}


def _read_study(row: sa.Row[Any]) -> Study:
    return Study(name=row.name, spec=row.spec, created_at=row.created_at)
