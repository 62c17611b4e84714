"""How sizes are written in a torch file: as constants where all mixers of a kind agree on them."""

import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

from search_space.architecture import Attention, LinearAttention, ShortConv

Scalar: TypeAlias = int | float | bool | None

_TYPES = {"window": "int | None", "rope_base": "float", "rope_share": "float"}
_SWITCHES = ("qk_norm", "head_gate", "qkv_bias")


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The values that each field of a kind of mixer takes, and the prefix of their constants."""

    prefix: str
    taken: dict[str, tuple[Scalar, ...]]

    def everywhere(self, field: str, value: Scalar) -> bool:
        return self.taken[field] == (value,)

    def anywhere(self, field: str, value: Scalar) -> bool:
        return value in self.taken[field]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The fields in which mixers differ."""
        return tuple(field for field, taken in self.taken.items() if len(taken) > 1)

    def constants(self, used: Collection[str]) -> list[str]:
        """`NAME = value` for those of the fields on which all agree."""
        return [
            f"{self.prefix}{field.upper()} = {literal(self.taken[field][0])}"
            for field in self.taken
            if field in used and field not in self.arguments
        ]

    def signature(self) -> str:
        """The arguments of `__init__` as they are declared, `self` among them."""
        declared = [
            f"{field}: {'bool' if field in _SWITCHES else _TYPES.get(field, 'int')}"
            for field in self.arguments
        ]
        return ", ".join(["self", *(["*"] if declared else []), *declared])

    def call(self, mixer: ShortConv | Attention | LinearAttention) -> str:
        """The mixer as the model's list of layers makes it."""
        given = [f"{field}={literal(getattr(mixer, field))}" for field in self.arguments]
        return f"{type(mixer).__name__}({', '.join(given)})"

    def filled(self, template: str) -> str:
        """`$heads` as `__init__` writes it, `$self_heads` as methods do."""
        names = {}
        for field in self.taken:
            constant = f"{self.prefix}{field.upper()}"
            differs = field in self.arguments
            names[field] = field if differs else constant
            names[f"self_{field}"] = f"self.{field}" if differs else constant
        return string.Template(template).substitute(names)

    def kept(self, wanted: Sequence[str]) -> list[str]:
        """The lines of `__init__` that keep those arguments for the methods."""
        return [f"self.{field} = {field}" for field in wanted if field in self.arguments]


def values_of(
    mixers: Sequence[ShortConv | Attention | LinearAttention], prefix: str = ""
) -> Values:
    names = [field.name for field in fields(mixers[0]) if field.name != "kind"]
    taken = {name: tuple(dict.fromkeys(getattr(mixer, name) for mixer in mixers)) for name in names}
    return Values(prefix=prefix, taken=taken)


def literal(value: Scalar) -> str:
    """As Python writes it, thousands apart."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}"
    return repr(value)
