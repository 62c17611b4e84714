"""Studies in the database, and the number of draws that the rules of their spaces rejected.

Every function runs in the caller's transaction.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from studies.records import Study
from studies.storage.database import Database
from studies.storage.decoding import fetch
from studies.storage.schema import REJECTIONS, REPEATS, STAGES, STUDIES, TRIALS


def begin_study(database: Database, connection: sa.Connection, name: str, spec: str) -> Study:
    """Return the study of this name, which is created if it does not exist.

    Args:
        database: The database.
        connection: An open transaction.
        name: The name of the study.
        spec: The specification of a new study, as JSON. An existing study keeps its own.
    """
    database.insert_new(connection, STUDIES, name=name, spec=spec, created_at=datetime.now(UTC))
    (row,) = fetch(connection, sa.select(STUDIES).where(STUDIES.c.name == name))
    return _read_study(row)


def read_studies(connection: sa.Connection) -> tuple[Study, ...]:
    """Read all studies in the order in which they were started."""
    rows = fetch(connection, sa.select(STUDIES).order_by(STUDIES.c.id))
    return tuple(_read_study(row) for row in rows)


def study_id(connection: sa.Connection, name: str, *, lock: bool = False) -> int:
    """Return the id of a study.

    Args:
        connection: An open transaction.
        name: The name of the study.
        lock: Whether other transactions that request this lock wait until this transaction ends.
            With SQLite they always do.

    Raises:
        ValueError: The database has no study of this name.
    """
    select = sa.select(STUDIES.c.id).where(STUDIES.c.name == name)
    found = connection.scalar(select.with_for_update() if lock else select)
    if found is None:
        raise ValueError(f"study: '{name}' is not in this database")
    return int(found)


def delete_study(connection: sa.Connection, name: str) -> None:
    """Delete a study with its trials; evaluations stay in the cache."""
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
    """Add to the number of draws that a rule rejected.

    Args:
        database: The database.
        connection: An open transaction.
        study: The name of the study.
        rule: The name of the rule.
        draws: The number of further draws.
    """
    key = study_id(connection, study)
    database.insert_new(connection, REJECTIONS, study=key, rule=rule, draws=0)
    connection.execute(
        REJECTIONS.update()
        .where(REJECTIONS.c.study == key, REJECTIONS.c.rule == rule)
        .values(draws=REJECTIONS.c.draws + draws)
    )


def read_rejections(connection: sa.Connection, study: str) -> dict[str, int]:
    """Return the number of draws that each rule rejected."""
    chosen = REJECTIONS.c.study == study_id(connection, study)
    rows = fetch(connection, sa.select(REJECTIONS).where(chosen))
    return {row.rule: row.draws for row in rows}


def _read_study(row: sa.Row[Any]) -> Study:
    return Study(name=row.name, spec=row.spec, created_at=row.created_at)
