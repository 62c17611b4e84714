"""Error messages about invalid input: one sentence, in the names that the user wrote.

pydantic reports locations that contain Python class names, and several errors for one mistake. The
functions here select one error and name the field, the value and what is allowed.
"""

import dataclasses
import difflib
import json
import re
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_Type: TypeAlias = Any  # anything that can be an annotation

_MOST_SHOWN = 60
_MOST_CHARACTERS = 500
# A longer word is a path or a value; its beginning and its end are enough to recognise it.
_LONG_WORD = re.compile(r"\S{120,}")

_NO_TABLE = "is not a table of named fields"
_NOT = {
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_type": "is not a number",
    "string_type": "is not text",
    "bool_type": "is not true or false",
    "tuple_type": "is not a list",
    "list_type": "is not a list",
    "dataclass_type": _NO_TABLE,
    "model_type": _NO_TABLE,
    "dict_type": _NO_TABLE,
}
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def describe_error(details: Sequence[ErrorDetails], type_: _Type, data: object) -> str:
    """Describe one of pydantic's errors in a sentence.

    Args:
        details: The errors that pydantic found when it validated the data.
        type_: The dataclass or model that the data should become.
        data: The plain data.
    """
    # Unknown fields come first, because a misspelt name is often why another field is missing.
    for detail in sorted(details, key=lambda detail: detail["type"] not in _UNKNOWN):
        try:
            place = _locate(type_, detail["loc"], data)
        except _WrongKindError as wrong:
            return str(wrong)
        if place is not None:
            return _sentence(detail, place)
    raise AssertionError(f"no place for {details}")


def one_sentence(text: str) -> str:
    """Return an error message as it is shown: one line of at most 500 characters.

    Control characters are shown as escapes, because a terminal would obey them. If the message is
    too long, first its longest words are shortened, and then its middle is left out.
    """
    # The text can contain a whole file. What is cut off here would not be shown anyway.
    shown = text if len(text) <= 20 * _MOST_CHARACTERS else f"{text[:5_000]} ... {text[-5_000:]}"
    shown = "".join(map(_printable, shown.strip()))
    if len(shown) > _MOST_CHARACTERS:
        shown = _LONG_WORD.sub(lambda word: f"{word[0][:60]}...{word[0][-40:]}", shown)
    if len(shown) > _MOST_CHARACTERS:
        half = _MOST_CHARACTERS // 2 - 3
        shown = f"{shown[:half]} ... {shown[-half:]}"
    return shown


def one_of(names: Sequence[object]) -> str:
    """Return the allowed names as the end of a sentence: `one of silu, gelu_tanh`."""
    return f"one of {', '.join(map(str, names))}" if names else "one of none"


def suggest_name(name: str, names: Sequence[str]) -> str:
    """Return `did you mean trials?`, or a list of the allowed names if none is similar."""
    near = difflib.get_close_matches(name[:_MOST_SHOWN], names, n=1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(names)}"


def join_path(path: str, step: object) -> str:
    """Extend a path by a field name or an index, as error messages show it: `layers[3].mixer`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{_step(step)}" if path else _step(step)


def format_value(value: object) -> str:
    """Return a value as printable text for a sentence, shortened to 60 characters."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The place of an error: its path, the type expected there and the type that contains it."""

    path: str
    type_: _Type
    owner: _Type = None


class _WrongKindError(Exception):
    """The data does not select exactly one variant of a union."""


def _sentence(detail: ErrorDetails, place: _Place) -> str:
    kind, path = detail["type"], place.path
    value = f"{path}: {format_value(detail['input'])}" if path else format_value(detail["input"])
    if kind in _UNKNOWN:
        name = str(detail["loc"][-1])
        return f"{path} is not a known field; {suggest_name(name, _field_names(place.owner))}"
    if kind == "missing" and _fixed_length(place.owner):
        owner_path = path.rpartition("[")[0]
        return f"{owner_path} is not a list of {_fixed_length(place.owner)} values"
    if kind == "missing":
        return f"{path} is missing"
    if kind == "too_long" and _fixed_length(place.type_):
        return f"{value} is not a list of {_fixed_length(place.type_)} values"
    if kind == "literal_error":
        return f"{value} is not {one_of(get_args(place.type_))}"
    if kind == "value_error":
        reason = re.sub(r"\S{80,}", lambda long: f"{long[0][:40]}...", str(detail["ctx"]["error"]))
        # An error about a whole table begins with the name of one of its fields.
        joint = "." if _field_names(place.type_) else ": "
        return f"{path}{joint}{reason}" if path else reason
    if kind.startswith(("greater_than", "less_than")):
        return f"{value} is not {_bounds(place.owner.model_fields[detail['loc'][-1]].metadata)}"
    return f"{value} {_NOT.get(kind) or 'is not valid: ' + detail['msg'].lower()}"


def _bounds(metadata: list[object]) -> str:
    """Describe the values that pydantic's `Field(ge=1, le=9)` allows."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = {
        name: getattr(mark, name) for name in words for mark in metadata if hasattr(mark, name)
    }
    if limits.keys() == {"ge", "le"}:
        return f"between {limits['ge']:,} and {limits['le']:,}"
    return " and ".join(f"{words[name]} {limit:,}" for name, limit in limits.items())


def _locate(type_: _Type, steps: Sequence[str | int], data: object) -> _Place | None:
    """Translate pydantic's location; return None if it lies in a variant that was not selected."""
    path, owner = "", None
    for step in steps:
        options = _options(type_)
        if len(options) > 1:
            # Here the step is not a field but the name of the union variant that was tried.
            selected = _selected(options, path, data)
            if step != selected.__name__:
                return None
            type_ = selected
            continue
        path, owner, type_ = join_path(path, step), options[0], _inner(options[0], step)
        data = _value_at(data, step)
    options = _options(type_)
    return _Place(path=path, type_=options[0] if len(options) == 1 else type_, owner=owner)


def _options(type_: _Type) -> list[_Type]:
    """Return the types that an annotation allows, without None."""
    if _origin(type_) is Annotated:
        return _options(get_args(type_)[0])
    if _origin(type_) not in (Union, types.UnionType):
        return [type_]
    return [option for option in get_args(type_) if option is not types.NoneType]


def _origin(type_: _Type) -> object:
    return get_origin(type_)


def _selected(options: list[_Type], path: str, data: object) -> _Type:
    """Return the variant that the data selects by its `kind`, or by the names of its fields."""
    if not isinstance(data, Mapping):
        raise _WrongKindError(f"{path}: {format_value(data)} {_NO_TABLE}")
    if all(_field_names(option) and "kind" not in _field_names(option) for option in options):
        return _selected_by_fields(options, path, data)
    kinds = {get_args(get_type_hints(option)["kind"])[0]: option for option in options}
    if "kind" not in data:
        raise _WrongKindError(f"{path}.kind is missing; it must be {one_of(list(kinds))}")
    kind = data["kind"]
    if not isinstance(kind, str) or kind not in kinds:
        raise _WrongKindError(f"{path}.kind: {format_value(kind)} is not {one_of(list(kinds))}")
    return kinds[kind]


def _selected_by_fields(options: list[_Type], path: str, data: Mapping[str, object]) -> _Type:
    """Return the variant that the data has a field of; the variants have no field in common."""
    given = {option: [name for name in _field_names(option) if name in data] for option in options}
    found = [option for option in options if given[option]]
    if not found:
        first = " or ".join(_field_names(option)[0] for option in options)
        raise _WrongKindError(f"{path}: {format_value(data)} has no field {first}")
    if len(found) > 1:
        pair = " and ".join(given[option][0] for option in found)
        raise _WrongKindError(f"{path}: {pair} exclude each other; only one may be given")
    return found[0]


def _inner(type_: _Type, step: str | int) -> _Type:
    if isinstance(step, str) and _field_names(type_):
        return get_type_hints(type_).get(step)
    arguments = get_args(type_)
    if isinstance(step, int) and step < _fixed_length(type_):
        return arguments[step]
    return arguments[0] if arguments else None


def _value_at(data: object, step: str | int) -> object:
    if isinstance(data, Mapping):
        return data.get(step)
    if isinstance(data, list) and isinstance(step, int) and step < len(data):
        return data[step]
    return None


def _field_names(type_: _Type) -> list[str]:
    if dataclasses.is_dataclass(type_):
        return [field.name for field in dataclasses.fields(type_)]
    if isinstance(type_, type) and issubclass(type_, BaseModel):
        return list(type_.model_fields)
    return []


def _fixed_length(type_: _Type) -> int:
    """Return the number of values in a tuple of fixed length, and 0 for any other type."""
    arguments = get_args(type_)
    return len(arguments) if _origin(type_) is tuple and Ellipsis not in arguments else 0


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()


def _step(name: object) -> str:
    """Return a field name as part of a path, quoted unless it is a plain word."""
    text = str(name)
    return text if re.fullmatch(rf"[\w-]{{1,{_MOST_SHOWN}}}", text) else format_value(text)
