"""Untrusted data into a checked value, or one sentence that names the field and what is allowed."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from search_space.architecture import Architecture, architecture_hash
from search_space.input_errors import first_mistake, joined, shown
from search_space.input_errors import one_of as one_of

T = TypeVar("T")

_MOST_BYTES = 1_000_000
_MOST_LEVELS = 32
_MOST_DIGITS = 60
_NO_UNICODE = "holds half of a UTF-16 pair, which is no character"


def parse_strict(type_: type[T], data: object, source: str) -> T:
    """Plain data, as JSON or TOML give it, as a dataclass or pydantic model; nothing is coerced.

    Lists become tuples and whole numbers may stand for fractions. Raises ValueError with one
    sentence about the first mistake; `source`, a file's name, begins it.
    """
    _check_plain(data, source)
    try:
        adapter: TypeAdapter[T] = _adapter(cast(Any, type_))
        return adapter.validate_json(json.dumps(data))
    except ValidationError as error:
        sentence = first_mistake(error.errors(include_url=False), type_, data)
    raise ValueError(f"{source}: {sentence}")


def read_text(path: Path) -> str:
    """The text of a small file; ValueError where it cannot be read, is no text or is above 1 MB."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    if len(content) > _MOST_BYTES:
        raise ValueError(f"{path}: above 1 MB is not the size of a file written by hand")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8 text") from None


def parse_json(type_: type[T], text: str, source: str) -> T:
    """`parse_strict` of a JSON text; a field given twice is a mistake too."""
    return parse_strict(type_, _json_data(text, source), source)


def read_architecture(path: Path) -> Architecture:
    """The Architecture of a JSON file, as `to_json` writes it or as `nas export` does.

    The latter wraps it with its hash, which has to be right, and with its provenance, which is not
    read here.
    """
    source = str(path)
    data = _json_data(read_text(path), source)
    if isinstance(data, Mapping) and "model_type" in data:
        raise ValueError(f"{source}: is a configuration of transformers, which nas import reads")
    if not isinstance(data, Mapping) or "architecture" not in data:
        return parse_strict(Architecture, data, source)
    wrapped = parse_strict(_Wrapped, data, source)
    found = architecture_hash(wrapped.architecture)
    if wrapped.hash != found:
        raise ValueError(
            f"{source}: hash: {shown(wrapped.hash)} is not the architecture's, {found}; "
            "an edited architecture stands alone in its file, without hash and provenance"
        )
    return wrapped.architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wrapped:
    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    architecture: Architecture
    hash: str
    provenance: dict[str, object]


@cache
def _adapter(type_: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_)


def _json_data(text: str, source: str) -> object:
    def fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
        table: dict[str, object] = {}
        for name, value in pairs:
            if name in table:
                raise ValueError(f"{source}: {joined('', name)} is given twice")
            table[name] = value
        return table

    def whole(digits: str) -> int:
        if len(digits) > _MOST_DIGITS:
            raise ValueError(f"{source}: a number of {len(digits)} digits is not one of 64 bits")
        return int(digits)

    try:
        data: object = json.loads(text, object_pairs_hook=fields, parse_int=whole)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{source}: {place} is not JSON: {error.msg.lower()}") from None
    except RecursionError:
        _refuse_nesting(source)
    return data


def _refuse_nesting(source: str) -> NoReturn:
    raise ValueError(f"{source}: more than {_MOST_LEVELS} levels is not how deep fields may nest")


def _check_plain(data: object, source: str) -> None:
    """Refuses what JSON does not hold: NaN, dates, half a character; and nesting without end."""
    open_values: list[tuple[str, int, object]] = [("", 0, data)]
    while open_values:
        path, level, value = open_values.pop()
        if level > _MOST_LEVELS:
            _refuse_nesting(source)
        if isinstance(value, Mapping):
            for key in value:
                if not _is_unicode(key):
                    raise ValueError(f"{source}: {joined(path, key)} {_NO_UNICODE}")
            open_values += [(joined(path, key), level + 1, item) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            open_values += [(joined(path, n), level + 1, item) for n, item in enumerate(value)]
        elif (fault := _fault(value)) is not None:
            raise ValueError(f"{source}: {path}: {fault}" if path else f"{source}: {fault}")


def _fault(value: object) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number"
    if isinstance(value, int) and value.bit_length() > 63:
        return f"a number of {value.bit_length() + 1} bits is not one of 64"
    if not _is_unicode(value):
        return f"{shown(value)} {_NO_UNICODE}"
    if value is None or isinstance(value, str | int | float):
        return None
    return f"{shown(str(value))} is not a number or text"


def _is_unicode(value: object) -> bool:
    """Whether a text can be written: JSON's escapes spell lone surrogates too."""
    return not isinstance(value, str) or not any("\ud800" <= letter <= "\udfff" for letter in value)
