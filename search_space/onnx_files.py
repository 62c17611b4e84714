"""Checks ONNX files that are to be measured: the graph, and the description next to it."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import onnx
from google.protobuf.message import DecodeError

from search_space.input_files import MODEL_BYTES, check_file, exists, read_file, read_text
from search_space.onnx_blocks import TOKENS, TOTAL_LENGTH
from search_space.strict import load_table, parse_strict

_LOGITS = "logits"

# A protobuf message cannot be larger.
_MOST_GRAPH_BYTES = 2_000_000_000
# A description lists every tensor, in about 150 bytes.
_MOST_DESCRIPTION_BYTES = 16_000_000
_STRICT: dict[str, object] = {"extra": "ignore", "strict": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedState:
    """A state of a graph, as its description states it; see `onnx_graph.StateTensor`."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    past: str
    present: str
    shape: tuple[int, ...]
    in_place: bool

    def __post_init__(self) -> None:
        if any(extent < 0 for extent in self.shape):
            raise ValueError(f"shape: {list(self.shape)} contains a negative number")


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedWeight:
    """A tensor of the data file, as the description states it; see `onnx_graph.Weight`."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8"]
    low: float
    high: float
    offset: int

    def __post_init__(self) -> None:
        if any(extent < 0 for extent in self.shape):
            raise ValueError(f"shape: {list(self.shape)} contains a negative number")
        if self.offset < 0:
            raise ValueError(f"offset: {self.offset} is negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphDescription:
    """The `model.json` next to a graph; see `onnx_model.write_onnx`.

    Attributes:
        vocab_size: The number of tokens of the vocabulary.
        context_length: The most tokens that a cache holds.
        seed: The seed of weights that are drawn where the file is run.
        states: The states, in the order of the graph's inputs.
        weights: The tensors of the data file.
        data_bytes: The size of the data file, in bytes.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    vocab_size: int
    context_length: int
    seed: int
    states: tuple[DescribedState, ...]
    weights: tuple[DescribedWeight, ...]
    data_bytes: int

    def __post_init__(self) -> None:
        for name, least in (("vocab_size", 1), ("context_length", 1), ("data_bytes", 0)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name}: {value} is not at least {least}")
        if self.seed < 0:
            raise ValueError(f"seed: {self.seed} is negative")


def read_description(path: Path) -> GraphDescription:
    """Read the description of a graph.

    Raises:
        ValueError: The file cannot be read or is not a description. The message names the field.
    """
    source = str(path)
    try:
        table = load_table(read_text(path, _MOST_DESCRIPTION_BYTES), source)
        return parse_strict(GraphDescription, table, source)
    except ValueError as error:
        reason = str(error).removeprefix(f"{source}: ")
        raise ValueError(f"{source}: not a model description: {reason}") from None


def check_graph(path: Path, description: GraphDescription) -> None:
    """Check that a file is a graph with the inputs and outputs that its description states.

    The data file is checked for its size, if there is one. The operators are not checked, because
    only a runtime knows which ones it supports.

    Raises:
        ValueError: The file cannot be read, or it is not such a graph.
    """
    try:
        graph = onnx.ModelProto.FromString(read_file(path, _MOST_GRAPH_BYTES)).graph
        _check_ends(path, graph, description)
        _check_order(path, graph)
    except (DecodeError, UnicodeDecodeError):
        raise ValueError(f"{path} is not an ONNX file, or is damaged") from None
    data = path.with_name(f"{path.name}.data")
    if exists(data):
        check_file(data, MODEL_BYTES)
        size = data.stat().st_size
        if size < description.data_bytes:
            raise ValueError(
                f"{data}: its size of {size:,} bytes is below the {description.data_bytes:,} bytes "
                "that the description requires"
            )


def _check_ends(path: Path, graph: onnx.GraphProto, description: GraphDescription) -> None:
    """Check the inputs and outputs of a graph."""
    states = description.states
    for kind, found, needed in (
        ("input", graph.input, [TOKENS, TOTAL_LENGTH, *(state.past for state in states)]),
        ("output", graph.output, [_LOGITS, *(state.present for state in states)]),
    ):
        missing = set(needed) - {value.name for value in found}
        if missing:
            raise ValueError(
                f"{path}: the graph has no {kind} {min(missing)!r}, which its description requires"
            )


def _check_order(path: Path, graph: onnx.GraphProto) -> None:
    """Check that every value is computed before a node reads it."""
    known = {value.name for value in (*graph.input, *graph.initializer)} | {""}
    for node in graph.node:
        for name in node.input:
            if name not in known:
                raise ValueError(
                    f"{path}: the node {node.name!r} reads {name!r}, which no earlier node computes"
                )
        known.update(node.output)
