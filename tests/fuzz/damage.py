"""Strategies that damage documents: plain data, its text in JSON or TOML, and its bytes."""

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

# Replaced in the text, because no encoder writes such nesting.
_DEEP = "@deep@"
_DEEP_TEXT = "[" * 100_000 + "]" * 100_000

VALUES: Sequence[object] = (
    None,
    True,
    -1,
    0,
    1,
    7,
    2**31,
    2**63,
    10**400,
    -0.0,
    0.5,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "x",
    "x" * 3_000,
    "a/" * 3_000,
    "a\0b",
    "\x1b[31m\u202e\n",
    "\ud800",
    "12",
    "null",
    "..",
    "loop",
    "pipe",
    "pipe.json",
    "loop.json",
    "/proc",
    "/dev/zero",
    "**",
    "[",
    "~nobody/x",
    [],
    {},
    [[]],
    [1, "x", None],
    list(range(1_000)),
    {"kind": "x"},
    {"kind": None, "x" * 3_000: {}},
    _DEEP,
)


@st.composite
def damaged_data(draw: st.DrawFn, documents: Sequence[Any]) -> Any:
    """Draw one of the documents with one to three changed values or names."""
    document = copy.deepcopy(draw(st.sampled_from(list(documents))))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            break
        parent, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "replace", "replace", "delete", "rename", "swap"])):
            case "replace":
                parent[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
            case "delete":
                del parent[key]
            case "rename" if isinstance(parent, dict):
                parent[draw(st.sampled_from([f"{key}s", "x", "", "\x1b", "n" * 3_000]))] = (
                    parent.pop(key)
                )
            case _:
                other, other_key = draw(st.sampled_from(places))
                parent[key] = copy.deepcopy(_value_at(other, other_key))
    return document


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw the content, unchanged in most cases, else with some bytes changed or cut off."""
    kind = draw(st.sampled_from(["keep", "keep", "keep", "cut", "flip", "insert", "repeat"]))
    place = int(draw(st.floats(0, 1)) * len(content))
    match kind:
        case "cut":
            return content[:place]
        case "flip":
            return content[:place] + draw(st.binary(min_size=1, max_size=4)) + content[place + 1 :]
        case "insert":
            piece = draw(st.sampled_from([b"\0", b"\xff", b"\x1b[2J", b'"', b"{" * 9, b"\n[x]\n"]))
            return content[:place] + piece + content[place:]
        case "repeat":
            return content + content
        case _:
            return content


@st.composite
def json_files(draw: st.DrawFn, documents: Sequence[Any]) -> bytes:
    """Draw a damaged document as the bytes of a JSON file."""
    text = json.dumps(draw(damaged_data(documents)))
    return draw(damaged_bytes(text.replace(f'"{_DEEP}"', _DEEP_TEXT).encode()))


@st.composite
def toml_files(draw: st.DrawFn, documents: Sequence[dict[str, Any]]) -> bytes:
    """Draw a damaged document as the bytes of a TOML file."""
    document = draw(damaged_data(documents))
    text = "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in document.items())
    return draw(damaged_bytes(text.replace(f'"{_DEEP}"', _DEEP_TEXT).encode()))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a document as its container and its key or index."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _value_at(parent: Any, key: Any) -> object:
    try:
        return parent[key]
    except (LookupError, TypeError):  # removed by an earlier change
        return None


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)  # TOML has no null, so that this is a mistake, too
