"""Strict decoding of stored rows, because a file may be damaged or edited by another program.

SQLite stores any value in any column, and checks foreign keys only for programs that request it.
Every row is therefore checked against the schema when it is read: the types of its values, their
ranges, and its JSON texts.
"""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache, cached_property
from types import NoneType
from typing import Any, Generic, TypeVar, cast, get_args, get_type_hints

import sqlalchemy as sa
from pydantic import BaseModel, TypeAdapter, ValidationError, create_model

from evaluators.calibration import ReferenceTiming
from hardware.environment import Environment
from hardware.measurement import Disturbance
from search_space.input_errors import format_value, join_path
from studies.records import END_STATES, TrialKind
from studies.storage.schema import (
    ARCHITECTURES,
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
_LEAST_POSITIVE = math.ulp(0.0)
# Numbers whose logarithms are computed.
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
_NAMES = {bool: "true or false", datetime: "a time"}


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

    Whole columns are checked at once, because a study of thousands of trials has tens of thousands
    of rows. Single values are checked only to find the one that is wrong.

    Args:
        columns: The columns of the rows, in order; None for a value that is not checked.
        rows: The rows.
        optional: Tables whose columns may all be None, because they are outer-joined.

    Raises:
        BadRow: A value does not suit its column.
    """
    for position, (column, values) in enumerate(zip(columns, zip(*rows, strict=True), strict=True)):
        if column is None or _suits(column, values, is_optional=column.table in optional):
            continue
        for row in rows:
            if not _suits(column, [row[position]], is_optional=column.table in optional):
                raise _bad_value(columns, row, position, _expected(column))


def _suits(column: sa.Column[Any], values: Sequence[Any], *, is_optional: bool) -> bool:
    """Return whether all values of a column have its type, and are in its range."""
    types = set(map(type, values))
    if NoneType in types:
        if not (column.nullable or is_optional):
            return False
        types.remove(NoneType)
        values = [value for value in values if value is not None]
    if not types.issubset(_TYPES[_python_type(column)]):
        return False
    if column in _CHOICES:
        return set(values) <= set(_CHOICES[column])
    if values and types <= {float, int}:
        return all(map(math.isfinite, values)) and min(values) >= _least(column)
    return True


def _python_type(column: sa.Column[Any]) -> type:
    return datetime if isinstance(column.type, UtcTime) else column.type.python_type


def _least(column: sa.Column[Any]) -> float:
    """Return the lowest number that a column may contain."""
    if column in _POSITIVE:
        return _LEAST_POSITIVE
    # No whole number is negative, and no score.
    is_whole = isinstance(column.type, sa.Integer)
    return 0.0 if is_whole or column is SCORES.c.value else -math.inf


def _expected(column: sa.Column[Any]) -> str:
    kind = _python_type(column)
    if column in _CHOICES:
        return f"one of {', '.join(_CHOICES[column])}"
    if kind not in (float, int):
        return _NAMES.get(kind, "text")
    noun = "a whole number" if kind is int else "a finite number"
    least = _least(column)
    if least > 0:
        return f"{noun} above 0"
    return f"{noun} of at least 0" if least == 0 else noun


def _bad_value(
    columns: Sequence[sa.Column[Any] | None], row: sa.Row[Any], position: int, expected: str
) -> BadRow:
    """Return the error for the value at a position, which does not suit its column."""
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
            BadRow: The text is not JSON, or describes something else.
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


def check_architecture(text: str, digest: str) -> None:
    """Check that a stored text is that of the architecture with this hash.

    Args:
        text: The canonical JSON text of the architecture.
        digest: The hash of the architecture, which is the key of its row.

    Raises:
        BadRow: The text has another hash.
    """
    if hashlib.sha256(text.encode()).hexdigest()[:16] != digest:
        name = row_name(ARCHITECTURES.name, {"hash": digest})
        raise BadRow(f"{name}: json {_shown(text)} is not the architecture with this hash")


def decode_environment(text: str, digest: str) -> Environment:
    """Decode an environment; facts that an earlier release did not record are None.

    Args:
        text: The JSON text.
        digest: The hash of the environment, which is the key of its row.

    Raises:
        BadRow: The text is not JSON, or describes something else.
    """
    return Environment(**vars(_environment_cell().read(text, hash=digest)))


@cache
def _environment_cell() -> JsonCell[BaseModel]:
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


def _table_name(column: sa.Column[Any]) -> str:
    table = column.table
    return str(getattr(getattr(table, "element", table), "name", table))


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else format_value(value)
