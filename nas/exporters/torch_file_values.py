"""The sizes in a torch file: constants if all mixers of a kind share a value, else arguments."""

import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

from search_space.architecture import Mixer

Scalar: TypeAlias = int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The values that the fields of a kind of mixer have in one layout.

    Attributes:
        prefix: The prefix of the names of constants.
        types: The type of each field, as it is declared.
        taken: The distinct values of each field.
    """

    prefix: str
    types: dict[str, str]
    taken: dict[str, tuple[Scalar, ...]]

    def everywhere(self, field: str, value: Scalar) -> bool:
        """Return whether a field has this value in all mixers."""
        return self.taken[field] == (value,)

    def anywhere(self, field: str, value: Scalar) -> bool:
        """Return whether a field has this value in any mixer."""
        return value in self.taken[field]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The fields in which the mixers differ."""
        return tuple(field for field, taken in self.taken.items() if len(taken) > 1)

    def constants(self, used: Collection[str]) -> list[str]:
        """Return a line `NAME = value` for each used field that has one value in all mixers."""
        return [
            f"{self.prefix}{field.upper()} = {literal(self.taken[field][0])}"
            for field in self.taken
            if field in used and field not in self.arguments
        ]

    def signature(self) -> str:
        """Return the declared arguments of `__init__`, including `self`."""
        declared = [f"{field}: {self.types[field]}" for field in self.arguments]
        return ", ".join(["self", *(["*"] if declared else []), *declared])

    def call(self, mixer: Mixer) -> str:
        """Return the expression that constructs a mixer."""
        given = [f"{field}={literal(getattr(mixer, field))}" for field in self.arguments]
        return f"{type(mixer).__name__}({', '.join(given)})"

    def filled(self, template: str) -> str:
        """Fill a template with field names: `$heads` in `__init__`, `$self_heads` in methods."""
        names = {}
        for field in self.taken:
            constant = f"{self.prefix}{field.upper()}"
            differs = field in self.arguments
            names[field] = field if differs else constant
            names[f"self_{field}"] = f"self.{field}" if differs else constant
        return string.Template(template).substitute(names)

    def kept(self, names: Sequence[str]) -> list[str]:
        """Return the lines of `__init__` that store these fields, if they are arguments."""
        return [f"self.{field} = {field}" for field in names if field in self.arguments]


def values_of(mixers: Sequence[Mixer], prefix: str = "") -> Values:
    """Return the values of mixers of one kind; see `Values`."""
    types = {
        field.name: field.type.__name__ if isinstance(field.type, type) else str(field.type)
        for field in fields(mixers[0])
        if field.name != "kind"
    }
    taken = {name: tuple(dict.fromkeys(getattr(mixer, name) for mixer in mixers)) for name in types}
    return Values(prefix=prefix, types=types, taken=taken)


def literal(value: Scalar) -> str:
    """Return a value as a Python literal, with `_` between thousands."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}"
    return repr(value)
