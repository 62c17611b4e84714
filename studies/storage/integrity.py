"""Checks a whole database: its file, its tables, every row, and what the rows refer to."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy as sa

from hardware.measurement import parse_workload
from studies.damage import DamagedDatabase
from studies.owner import seems_lost
from studies.spec.study_spec import StudySpec, from_json
from studies.storage.database import Database, open_to_read
from studies.storage.database_url import is_sqlite
from studies.storage.decoding import (
    CORES,
    CURVE,
    DISTURBANCE,
    EXCEEDED,
    PARTIAL_CURVE,
    SAMPLES_NS,
    TIMINGS,
    WAITED_NS,
    WARMUP_NS,
    BadRow,
    JsonCell,
    check_rows,
    decode_environment,
    row_name,
)
from studies.storage.evaluation_rows import read_architecture
from studies.storage.refusals import reason
from studies.storage.schema import (
    ARCHITECTURES,
    CALIBRATIONS,
    ENVIRONMENTS,
    EVALUATIONS,
    MEASUREMENTS,
    METADATA,
    STUDIES,
    TRIALS,
)
from studies.storage.trials import read_points, read_trials

_Check: TypeAlias = Callable[[sa.Connection], Iterator[str]]

_MOST_FAULTS = 20  # of one table and kind
_ROWS_AT_ONCE = 1_000
_CELLS: Mapping[sa.Column[Any], JsonCell[Any]] = {
    CALIBRATIONS.c.timings: TIMINGS,
    EVALUATIONS.c.curve: CURVE,
    MEASUREMENTS.c.cores: CORES,
    MEASUREMENTS.c.disturbance: DISTURBANCE,
    MEASUREMENTS.c.samples_ns: SAMPLES_NS,
    MEASUREMENTS.c.waited_ns: WAITED_NS,
    MEASUREMENTS.c.warmup_ns: WARMUP_NS,
    TRIALS.c.curve: PARTIAL_CURVE,
    TRIALS.c.exceeded: EXCEEDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegrityReport:
    """The result of a check.

    Attributes:
        rows: The number of rows of each table that could be read.
        damage: What is damaged, as sentences without a full stop; at most 20 of each kind.
        remarks: What is unusual, but repaired by the next run, such as trials of dead processes.
    """

    rows: Mapping[str, int]
    damage: tuple[str, ...]
    remarks: tuple[str, ...]


def check_database(url: str) -> IntegrityReport:
    """Check everything in a database, without writing to it.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.

    Raises:
        ValueError: The database cannot be opened for a reason other than damage, or belongs to
            another program.
    """
    try:
        database = open_to_read(url)
    except DamagedDatabase as error:
        return IntegrityReport(rows={}, damage=(str(error),), remarks=())
    try:
        return _check(database)
    finally:
        database.close()


def _check(database: Database) -> IntegrityReport:
    rows: dict[str, int] = {}
    checks: list[_Check] = [_broken_pages] if is_sqlite(database.url) else []
    checks.append(_missing_columns)
    checks += [_row_check(table, rows) for table in METADATA.sorted_tables]
    checks += [_orphans, _missing_scores, _unknown_draws, _unreadable_draws]
    damage = [fault for check in checks for fault in _faults(database, check)]
    remarks = [] if damage else _faults(database, _abandoned_trials)
    return IntegrityReport(rows=rows, damage=tuple(dict.fromkeys(damage)), remarks=tuple(remarks))


def _faults(database: Database, check: _Check) -> list[str]:
    """Return what a check finds. Each has its own transaction, so an error ends only this check."""
    found: list[str] = []
    try:
        with database.read() as connection:
            for fault in check(connection):
                found.append(fault)
                if len(found) == _MOST_FAULTS:
                    found.append(f"{fault.partition(',')[0]}: more of this kind")
                    break
    except DamagedDatabase as error:
        cause = error.__cause__
        found.append(reason(cause) if isinstance(cause, sa.exc.DBAPIError) else str(cause))
    return found


def _broken_pages(connection: sa.Connection) -> Iterator[str]:
    for (text,) in connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST_FAULTS})"):
        if text != "ok":
            yield from (f"file: {line}"[:200] for line in str(text).splitlines()[:_MOST_FAULTS])


def _missing_columns(connection: sa.Connection) -> Iterator[str]:
    inspector = sa.inspect(connection)
    tables = set(inspector.get_table_names())
    for table in METADATA.sorted_tables:
        if table.name not in tables:
            yield f"{table.name}: the table is missing"
            continue
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        for name in sorted(set(table.c.keys()) - columns):
            yield f"{table.name}: the column '{name}' is missing"


def _row_check(table: sa.Table, counts: dict[str, int]) -> _Check:
    """Return a check that decodes every row of a table, and counts the rows."""
    columns = list(table.c)
    cells = [(column, cell) for column, cell in _CELLS.items() if column.table is table]

    def check(connection: sa.Connection) -> Iterator[str]:
        counts[table.name] = 0
        for part in connection.execute(sa.select(table)).partitions(_ROWS_AT_ONCE):
            counts[table.name] += len(part)
            for row in part:
                try:
                    check_rows(columns, [row])
                    key = {column.name: row._mapping[column] for column in table.primary_key}
                    for column, cell in cells:
                        if row._mapping[column] is not None:
                            cell.read(row._mapping[column], **key)
                    _check_text(connection, table, row, key)
                except BadRow as error:
                    yield str(error)

    return check


def _check_text(
    connection: sa.Connection, table: sa.Table, row: sa.Row[Any], key: Mapping[str, object]
) -> None:
    """Check the texts of a row that are more than JSON."""
    try:
        if table is STUDIES:
            name = from_json(row.spec, row.name).name
            if name != row.name:
                raise ValueError(f"name {row.name!r} is not {name!r}, the name in its spec")
        elif table is ARCHITECTURES:
            read_architecture(connection, row.hash)
        elif table is ENVIRONMENTS:
            decode_environment(row.json, row.hash)
        elif table is MEASUREMENTS:
            parse_workload(row.workload)
    except ValueError as error:
        raise BadRow(f"{row_name(table.name, key)}: {error}") from None


def _orphans(connection: sa.Connection) -> Iterator[str]:
    """Find rows that refer to missing rows of other tables."""
    for table in METADATA.sorted_tables:
        for constraint in table.foreign_key_constraints:
            parent = constraint.referred_table.alias()
            pairs = [(each.parent, parent.c[each.column.name]) for each in constraint.elements]
            match = sa.and_(*(child == referred for child, referred in pairs))
            orphans = (
                sa.select(*table.primary_key)
                .where(*(child.is_not(None) for child, _ in pairs))
                .where(~sa.exists().where(match))
                .limit(_MOST_FAULTS)
            )
            for row in connection.execute(orphans):
                name = row_name(table.name, dict(row._mapping))
                columns = " and ".join(child.name for child, _ in pairs)
                yield f"{name}: {columns} refers to no row of {constraint.referred_table.name}"


def _missing_scores(connection: sa.Connection) -> Iterator[str]:
    """Find complete candidates that lack the score of an objective."""
    for study, spec in _studies(connection):
        names = [objective.name for objective in spec.objectives]
        complete = (
            (TRIALS.c.study == study)
            & (TRIALS.c.kind == "candidate")
            & (TRIALS.c.state == "complete")
            & TRIALS.c.duplicate_of.is_(None)
        )
        for point in read_points(connection, complete, names):
            for name in names:
                if name not in point.values:
                    yield f"{TRIALS.name}, trial {point.number} of {spec.name}: no score '{name}'"


def _unknown_draws(connection: sa.Connection) -> Iterator[str]:
    """Find candidates whose draw is not in Optuna's tables, which the sampler learns from."""
    tables = set(sa.inspect(connection).get_table_names())
    if not {"studies", "trials"} <= tables:
        return
    unknown = sa.text(
        "SELECT t.number FROM nas_trials t JOIN nas_studies s ON s.id = t.study "
        "WHERE t.optuna_number IS NOT NULL AND NOT EXISTS (SELECT 1 FROM trials o "
        "JOIN studies p ON p.study_id = o.study_id "
        "WHERE p.study_name = s.name AND o.number = t.optuna_number)"
    )
    for (number,) in connection.execute(unknown):
        yield f"{TRIALS.name}, trial {number}: its draw is not in Optuna's tables"


def _unreadable_draws(connection: sa.Connection) -> Iterator[str]:
    """Find parameters in Optuna's tables that cannot be read, or that are outside their choices."""
    # Optuna is slow to import, and other commands that read do not need it.
    from optuna.distributions import json_to_distribution

    if "trial_params" not in sa.inspect(connection).get_table_names():
        return
    rows = connection.exec_driver_sql(
        "SELECT param_id, param_value, distribution_json FROM trial_params"
    )
    for key, value, text in rows:
        try:
            distribution = json_to_distribution(text)
            distribution.to_internal_repr(distribution.to_external_repr(value))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            yield f"trial_params, row param_id={key}: its value or its distribution cannot be read"


def _abandoned_trials(connection: sa.Connection) -> Iterator[str]:
    """Find running trials whose process has ended or gives no sign of life."""
    for trial in read_trials(connection, TRIALS.c.state == "running"):
        if trial.owner is None or seems_lost(trial.owner):
            yield (
                f"{trial.title} of {trial.study} is running, but its process has ended; the next "
                "`nas run` resumes it"
            )


def _studies(connection: sa.Connection) -> Iterator[tuple[int, StudySpec]]:
    for number, text in connection.execute(sa.select(STUDIES.c.id, STUDIES.c.spec)).all():
        try:
            yield number, from_json(text)
        except (TypeError, ValueError):  # reported with its row
            continue
