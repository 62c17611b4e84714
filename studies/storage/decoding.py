"""Strict decoding of stored rows, because a file may be damaged or edited by another program.

SQLite stores any value in any column, and foreign keys bind only those who ask for them. Every row
is therefore checked against the schema when it is read: the types of its values, their range, and
the texts in JSON.
"""

import math
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache, cached_property
from typing import Any, Generic, TypeVar, cast, get_args, get_type_hints

import sqlalchemy as sa
from pydantic import BaseModel, TypeAdapter, ValidationError, create_model

from evaluators.calibration import ReferenceTiming
from hardware.environment import Environment
from hardware.measurement import Disturbance
from search_space.input_errors import format_value, join_path
from studies.records import END_STATES, TrialKind
from studies.storage.schema import (
    CALIBRATIONS,
    ENVIRONMENTS,
    EVALUATIONS,
    MEASUREMENTS,
    SCORES,
    TRIALS,
    UtcTime,
)

T = TypeVar("T")

_CHOICES: Mapping[sa.Column[Any], Collection[str]] = {
    TRIALS.c.kind: get_args(TrialKind),
    TRIALS.c.state: (*END_STATES, "running", "interrupted"),
}
# No score is negative. Of the others, logarithms are computed.
_LEAST_POSITIVE = math.ulp(0.0)
_POSITIVE = frozenset(
    {
        CALIBRATIONS.c.milliseconds,
        CALIBRATIONS.c.low,
        CALIBRATIONS.c.high,
        SCORES.c.ratio,
        SCORES.c.ratio_low,
        SCORES.c.ratio_high,
    }
)
_TYPES: Mapping[type, tuple[type, ...]] = {
    bool: (bool,),
    datetime: (datetime,),
    float: (float, int),
    int: (int,),
    str: (str,),
}
_NAMES = {bool: "true or false", datetime: "a time", float: "a number", int: "a whole number"}


class BadRow(Exception):
    """A stored row that cannot be used; the message names the table, the row and the column."""


def fetch(
    connection: sa.Connection, select: sa.Select[Any], *, optional: Collection[sa.FromClause] = ()
) -> Sequence[Any]:
    """Return the rows of a query whose values have the types and ranges of the schema.

    Args:
        connection: An open transaction.
        select: A selection of columns of our tables.
        optional: Tables whose columns may all be None, because they are outer-joined.

    Raises:
        BadRow: A value does not suit its column.
    """
    rows = connection.execute(select).all()
    if rows:
        check_rows(_columns(select), rows, optional=optional)
    return rows


def check_rows(
    columns: Sequence[sa.Column[Any] | None],
    rows: Sequence[sa.Row[Any]],
    *,
    optional: Collection[sa.FromClause] = (),
) -> None:
    """Check rows that hold these columns; see `fetch`. Values without a column are not checked.

    The check of the types is done once for each combination of types, because a study of thousands
    of trials has tens of thousands of rows.
    """
    least = [_least(column) for column in columns]
    choices = [
        (position, _CHOICES[column])
        for position, column in enumerate(columns)
        if column is not None and column in _CHOICES
    ]
    accepted: dict[tuple[type, ...], tuple[int, ...]] = {}
    for row in rows:
        types = tuple(map(type, row))
        numbers = accepted.get(types)
        if numbers is None:
            for position, column in enumerate(columns):
                if column is not None:
                    _check_type(columns, row, position, column.table in optional)
            numbers = tuple(
                position
                for position, (column, each) in enumerate(zip(columns, types, strict=True))
                if column is not None and each in (int, float)
            )
            accepted[types] = numbers
        for position in numbers:
            value = row[position]
            if not least[position] <= value < math.inf:
                raise bad_value(columns, row, position, _expected(least[position]))
        for position, allowed in choices:
            if row[position] not in allowed:
                raise bad_value(columns, row, position, f"one of {', '.join(allowed)}")


def bad_value(
    columns: Sequence[sa.Column[Any] | None], row: sa.Row[Any], position: int, expected: str
) -> BadRow:
    """Return the error for a value that does not suit its column.

    Args:
        columns: The columns of the row.
        row: The row.
        position: The position of the value.
        expected: What the value must be.
    """
    column = columns[position]
    assert column is not None
    table = _table_name(column)
    key = {
        each.name: value
        for each, value in zip(columns, row, strict=True)
        if each is not None and each.primary_key and _table_name(each) == table
    }
    return BadRow(
        f"{row_name(table, key)}: {column.name} {_shown(row[position])} is not {expected}"
    )


def row_name(table: str, key: Mapping[str, object]) -> str:
    """Return the name of a row in messages, such as `nas_stages, row trial=3 position=0`."""
    shown = " ".join(f"{name}={_shown(value)}" for name, value in key.items())
    return f"{table}, row {shown}" if shown else table


class JsonCell(Generic[T]):
    """A column that contains JSON text.

    Args:
        column: The column.
        type_: The type that the text describes.
    """

    def __init__(self, column: sa.Column[Any], type_: Any) -> None:
        self._column = column
        self._type = type_

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self._type)

    def read(self, text: str, **key: object) -> T:
        """Decode the text of a row.

        Args:
            text: The JSON text.
            **key: What identifies the row, by column.

        Raises:
            BadRow: The text is no JSON, or describes something else.
        """
        try:
            return self._adapter.validate_json(text, strict=True)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_context=False)[0]
        place = ""
        for step in fault["loc"]:
            place = join_path(place, step)
        where = f" at {place}" if place else ""
        name = row_name(_table_name(self._column), key)
        raise BadRow(
            f"{name}: {self._column.name} {_shown(text)} cannot be decoded{where}: "
            f"{fault['msg'].lower()[:80]}"
        )


CURVE: JsonCell[tuple[tuple[int, float], ...]] = JsonCell(
    EVALUATIONS.c.curve, tuple[tuple[int, float], ...]
)
PARTIAL_CURVE: JsonCell[tuple[tuple[int, float], ...]] = JsonCell(
    TRIALS.c.curve, tuple[tuple[int, float], ...]
)
EXCEEDED: JsonCell[dict[str, float]] = JsonCell(TRIALS.c.exceeded, dict[str, float])
TIMINGS: JsonCell[tuple[ReferenceTiming, ...]] = JsonCell(
    CALIBRATIONS.c.timings, tuple[ReferenceTiming, ...]
)
CORES: JsonCell[tuple[int, ...]] = JsonCell(MEASUREMENTS.c.cores, tuple[int, ...])
SAMPLES_NS: JsonCell[tuple[int, ...]] = JsonCell(MEASUREMENTS.c.samples_ns, tuple[int, ...])
WARMUP_NS: JsonCell[tuple[int, ...]] = JsonCell(MEASUREMENTS.c.warmup_ns, tuple[int, ...])
WAITED_NS: JsonCell[tuple[int, ...]] = JsonCell(MEASUREMENTS.c.waited_ns, tuple[int, ...])
DISTURBANCE: JsonCell[Disturbance] = JsonCell(MEASUREMENTS.c.disturbance, Disturbance)


def decode_environment(text: str, digest: str) -> Environment:
    """Decode an environment; facts that the release which recorded it did not know are None.

    Args:
        text: The JSON text.
        digest: The hash of the environment, which is the key of its row.

    Raises:
        BadRow: The text is no JSON, or describes something else.
    """
    return Environment(**vars(_facts().read(text, hash=digest)))


@cache
def _facts() -> JsonCell[BaseModel]:
    facts = {name: (hint | None, None) for name, hint in get_type_hints(Environment).items()}
    model: type[BaseModel] = create_model("_Facts", **cast(Any, facts))
    return JsonCell(ENVIRONMENTS.c.json, model)


def _columns(select: sa.Select[Any]) -> list[sa.Column[Any] | None]:
    """Return the columns of a query in their tables, or in aliases of them; None for others."""
    elements = (
        column.element if isinstance(column, sa.Label) else column
        for column in select.selected_columns
    )
    return [element if isinstance(element, sa.Column) else None for element in elements]


def _least(column: sa.Column[Any] | None) -> float:
    """Return the lowest number that a column may contain."""
    if column is None:
        return -math.inf
    if column in _POSITIVE:
        return _LEAST_POSITIVE
    is_whole = isinstance(column.type, sa.Integer)
    return 0.0 if is_whole or column is SCORES.c.value else -sys.float_info.max


def _expected(least: float) -> str:
    if least == _LEAST_POSITIVE:
        return "a finite number above 0"
    return "a finite number at least 0" if least == 0 else "a finite number"


def _check_type(
    columns: Sequence[sa.Column[Any] | None],
    row: sa.Row[Any],
    position: int,
    is_optional: bool,
) -> None:
    column, value = columns[position], row[position]
    assert column is not None
    if value is None and (column.nullable or is_optional):
        return
    kind = datetime if isinstance(column.type, UtcTime) else column.type.python_type
    if type(value) not in _TYPES[kind]:
        raise bad_value(columns, row, position, _NAMES.get(kind, "text"))


def _table_name(column: sa.Column[Any]) -> str:
    table = column.table
    return str(getattr(getattr(table, "element", table), "name", table))


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else format_value(value)
