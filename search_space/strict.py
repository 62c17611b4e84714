"""Strict parsing of untrusted data: a validated value, or one sentence that names the field."""

import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, NoReturn, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from search_space.input_errors import describe_error, format_value, join_path

T = TypeVar("T")

_MOST_LEVELS = 32
_MOST_DIGITS = 60
# The time to parse a dotted key grows with the square of the number of its parts.
_LONG_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}"""
)
_NO_UNICODE = "contains an unpaired UTF-16 surrogate, which is not a character"


def parse_strict(type_: type[T], data: object, source: str) -> T:
    """Validate plain data, as read from JSON or TOML, without coercing values.

    Lists become tuples, and whole numbers are accepted where the type asks for a float. If the type
    ignores unknown fields, their values can be anything.

    Args:
        type_: The dataclass or pydantic model to create.
        data: Dictionaries, lists, text, numbers, booleans and None.
        source: The name of the file, which error messages start with.

    Raises:
        ValueError: The data is invalid; one sentence describes the first error.
    """
    data = _read_fields(type_, data)
    _check_plain(data, source)
    try:
        adapter: TypeAdapter[T] = _adapter(cast(Any, type_))
        return adapter.validate_json(json.dumps(data))
    except ValidationError as error:
        sentence = describe_error(error.errors(include_url=False), type_, data)
    raise ValueError(f"{source}: {sentence}")


def parse_json(type_: type[T], text: str, source: str) -> T:
    """Parse and validate JSON text; see `load_json` and `parse_strict`."""
    return parse_strict(type_, load_json(text, source), source)


def load_table(text: str, source: str) -> dict[str, object]:
    """Parse JSON text that is a table of fields, without checking the values of the fields.

    Args:
        text: The JSON text.
        source: The name of the file, which error messages start with.

    Raises:
        ValueError: See `load_json`; or the text is another value, or is nested too deeply.
    """
    data = load_json(text, source)
    _check_levels(data, source)
    if not isinstance(data, dict):
        raise ValueError(f"{source}: {format_value(data)} is not a table of named fields")
    return data


def load_toml(text: str, source: str) -> dict[str, object]:
    """Parse TOML text into plain data.

    Args:
        text: The TOML text.
        source: The name of the file, which error messages start with.

    Raises:
        ValueError: The text is not TOML, or has keys, lists or numbers beyond what any field
            allows.
    """
    if _LONG_KEY.search(text):
        raise ValueError(f"{source}: a key has more parts than any field allows")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = re.fullmatch(r"(.*) \(at (line \d+|end of document).*\)", str(error))
        what, where = message.groups() if message else (str(error), "the text")
        raise ValueError(f"{source}: {where} is not valid TOML: {what.lower()}") from None
    except RecursionError:
        raise ValueError(f"{source}: lists are nested deeper than any field allows") from None
    except ValueError:
        # The only other cause is Python's limit on the number of digits of an integer.
        raise ValueError(f"{source}: a number has too many digits") from None


def load_json(text: str, source: str) -> object:
    """Parse JSON text into plain data.

    Args:
        text: The JSON text.
        source: The name of the file, which error messages start with.

    Raises:
        ValueError: The text is not JSON, is nested too deeply, gives a field twice, or contains a
            number of more than 60 digits.
    """

    def table_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
        table: dict[str, object] = {}
        for name, value in pairs:
            if name in table:
                raise ValueError(f"{source}: {join_path('', name)} is given twice")
            table[name] = value
        return table

    def whole(digits: str) -> int:
        if len(digits) > _MOST_DIGITS:
            raise ValueError(f"{source}: a number of {len(digits)} digits does not fit in 64 bits")
        return int(digits)

    try:
        data: object = json.loads(text, object_pairs_hook=table_of, parse_int=whole)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{source}: {place} is not valid JSON: {error.msg.lower()}") from None
    except RecursionError:
        _refuse_nesting(source)
    return data


@cache
def _adapter(type_: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_)


def _refuse_nesting(source: str) -> NoReturn:
    raise ValueError(f"{source}: fields are nested more than {_MOST_LEVELS} levels deep")


def _read_fields(type_: Any, data: object) -> object:
    """Return the data without the fields that a type ignores."""
    settings = getattr(type_, "__pydantic_config__", {})
    if settings.get("extra") != "ignore" or not isinstance(data, Mapping):
        return data
    return {field.name: data[field.name] for field in fields(type_) if field.name in data}


def _check_levels(data: object, source: str) -> None:
    """Reject deep nesting, at which functions that call themselves would fail."""
    open_values: list[tuple[int, object]] = [(0, data)]
    while open_values:
        level, value = open_values.pop()
        if level > _MOST_LEVELS:
            _refuse_nesting(source)
        if isinstance(value, Mapping):
            open_values += [(level + 1, item) for item in value.values()]
        elif isinstance(value, list | tuple):
            open_values += [(level + 1, item) for item in value]


def _check_plain(data: object, source: str) -> None:
    """Reject values that JSON cannot represent (NaN, dates, lone surrogates) and deep nesting."""
    _check_levels(data, source)
    open_values: list[tuple[str, object]] = [("", data)]
    while open_values:
        path, value = open_values.pop()
        if isinstance(value, Mapping):
            for key in value:
                if not _is_unicode(key):
                    raise ValueError(f"{source}: {join_path(path, key)} {_NO_UNICODE}")
            open_values += [(join_path(path, key), item) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            open_values += [(join_path(path, n), item) for n, item in enumerate(value)]
        elif (fault := _fault(value)) is not None:
            raise ValueError(f"{source}: {path}: {fault}" if path else f"{source}: {fault}")


def _fault(value: object) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number"
    if isinstance(value, int) and value.bit_length() > 63:
        return f"a number of {value.bit_length() + 1} bits does not fit in 64 bits"
    if not _is_unicode(value):
        return f"{format_value(value)} {_NO_UNICODE}"
    if value is None or isinstance(value, str | int | float):
        return None
    return f"{format_value(str(value))} is not a number or text"


def _is_unicode(value: object) -> bool:
    """Return whether a text can be encoded; JSON escapes can also produce lone surrogates."""
    return not isinstance(value, str) or not any("\ud800" <= letter <= "\udfff" for letter in value)
