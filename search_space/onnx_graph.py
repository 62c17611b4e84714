"""Writing an ONNX graph node by node: values by name, weights declared now and filled later."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from search_space.quantization import BLOCK, bits_of, quantize

Array: TypeAlias = NDArray[np.float32] | NDArray[np.uint8]
Attribute: TypeAlias = int | float | str
GraphQuantization: TypeAlias = Literal["fp32", "int8", "int4"]

# onnxruntime's own operators: fused kernels that the standard set has no equal of.
FUSED = "com.microsoft"
DATA_FILE = "model.onnx.data"
_PAGE = 4096
_OPSETS = (helper.make_opsetid("", 21), helper.make_opsetid(FUSED, 1))
_IR_VERSION = 10
_ONNX_TYPE = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A tensor at `offset` of the data file; without given values drawn evenly from [low, high).

    Two weights may be the same bytes seen in two shapes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8"]
    low: float
    high: float
    offset: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTensor:
    """What one step leaves for the next, in float32; a 0 in the shape is the context's capacity.

    in_place: the operator takes one buffer as past and present.
    """

    past: str
    present: str
    shape: tuple[int, ...]
    in_place: bool


@dataclass(slots=True)
class GraphWriter:
    """A graph that grows by one node a call; each call returns the name of the node's value.

    given: the torch model's weights by name, quantised here as the graph wants them; None leaves
        them to be drawn at random where the file is run.
    """

    quantization: GraphQuantization
    given: Mapping[str, NDArray[np.float32]] | None = None
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    weights: dict[str, Weight] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)
    states: list[StateTensor] = field(default_factory=list)
    data_bytes: int = 0

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        name: str,
        *,
        domain: str = "",
        outputs: Sequence[str] = (),
        **attributes: Attribute | Sequence[int],
    ) -> str:
        """One node whose (first) value bears `name`; `outputs` names all when there are several."""
        names = list(outputs) or [name]
        node = helper.make_node(operator, inputs, names, name=name, domain=domain)
        node.attribute.extend(
            helper.make_attribute(key, value) for key, value in attributes.items()
        )
        self.nodes.append(node)
        return names[0]

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """A small tensor that stands in the graph itself; the same name is written once."""
        if all(tensor.name != name for tensor in self.constants):
            self.constants.append(onnx.numpy_helper.from_array(value, name))
        return name

    def vector(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        low: float,
        high: float,
        parts: Sequence[str] = (),
    ) -> str:
        """A norm's, a bias's or a kernel's weights, which stay in float32."""
        if self.given is not None:
            self.values[name] = self._given_rows(name, parts).reshape(shape)
        return self._declare(name, shape, "float32", low=low, high=high)

    def linear(
        self,
        x: str,
        name: str,
        *,
        rows: int,
        columns: int,
        bias: bool = False,
        value: str | None = None,
        parts: Sequence[str] = (),
    ) -> str:
        """`x W^T + b` with the weight `name.weight` (rows, columns) at the graph's quantisation.

        value: what the result is called, where that is not the weight's name.
        parts: the torch model's layers that this one does at once, their rows one after the other.
        """
        inputs = [x, *self._matrix(f"{name}.weight", rows, columns, parts)]
        bias_name = ""
        if bias:
            spread = columns**-0.5
            bias_name = self.vector(f"{name}.bias", (rows,), low=-spread, high=spread, parts=parts)
        if self.quantization == "fp32":
            product = self.add("FusedMatMul", inputs, value or name, domain=FUSED, transB=1)
            return self.add("Add", [product, bias_name], f"{name}.biased") if bias else product
        if bias:
            inputs += ["", "", bias_name]
        return self.add(
            "MatMulNBits",
            inputs,
            value or name,
            domain=FUSED,
            N=rows,
            K=columns,
            bits=bits_of(self.quantization),
            block_size=BLOCK,
            accuracy_level=4,  # activations in int8 blocks, as deployed
        )

    def embedding(self, tokens: str, name: str, *, rows: int, columns: int) -> str:
        """Rows of the table `name.weight`; a tied head shares the very tensors."""
        matrix = self._matrix(f"{name}.weight", rows, columns)
        if self.quantization == "fp32":
            return self.add("Gather", [*matrix, tokens], name, axis=0)
        blocks, scales = matrix
        bits = bits_of(self.quantization)
        table = replace(
            self.weights[blocks], name=f"{name}.weight.table", shape=(rows, columns * bits // 8)
        )
        self.weights[table.name] = table
        return self.add(
            "GatherBlockQuantized",
            [table.name, tokens, scales],
            name,
            domain=FUSED,
            bits=bits,
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )

    def norm(self, x: str, name: str, width: int, eps: float) -> str:
        weight = self.vector(f"{name}.weight", (width,), low=0.9, high=1.1)
        return self.add("SimplifiedLayerNormalization", [x, weight], name, axis=-1, epsilon=eps)

    def state(self, name: str, shape: tuple[int, ...], *, in_place: bool) -> StateTensor:
        tensor = StateTensor(
            past=f"past.{name}", present=f"present.{name}", shape=shape, in_place=in_place
        )
        self.states.append(tensor)
        return tensor

    def model(
        self, inputs: Sequence[onnx.ValueInfoProto], output: onnx.ValueInfoProto
    ) -> onnx.ModelProto:
        """The finished model; its weights are declared as external data in `DATA_FILE`."""
        pasts = [_state_info(state.past, state) for state in self.states]
        presents = [_state_info(state.present, state) for state in self.states]
        graph = helper.make_graph(
            self.nodes,
            "language_model",
            [*inputs, *pasts],
            [output, *presents],
            initializer=[*self.constants, *map(_external, self.weights.values())],
        )
        return helper.make_model(
            graph, opset_imports=_OPSETS, ir_version=_IR_VERSION, producer_name="nas"
        )

    def _matrix(self, name: str, rows: int, columns: int, parts: Sequence[str] = ()) -> list[str]:
        """Declares a matrix once and names its tensors: itself, or its blocks and scales."""
        spread = 3**0.5 * columns**-0.5  # an even draw with a variance of 1 / columns
        if self.quantization == "fp32":
            if self.given is not None:
                self.values[name] = self._given_rows(name, parts)
            return [self._declare(name, (rows, columns), "float32", low=-spread, high=spread)]
        bits: Literal[4, 8] = 4 if self.quantization == "int4" else 8
        shape = (rows, -(-columns // BLOCK), BLOCK * bits // 8)
        step = spread / (1 << (bits - 1))
        blocks, scales = f"{name}.blocks", f"{name}.scales"
        if self.given is not None and blocks not in self.values:
            coded = quantize(self._given_rows(name, parts), bits)
            self.values |= {blocks: coded.blocks, scales: coded.scales}
        return [
            self._declare(blocks, shape, "uint8", low=0, high=256),
            self._declare(scales, shape[:2], "float32", low=step / 2, high=step),
        ]

    def _given_rows(self, name: str, parts: Sequence[str]) -> NDArray[np.float32]:
        """The given weight of that name, or those of the parts, one after the other."""
        assert self.given is not None
        if not parts:
            return self.given[name]
        kind = name.rpartition(".")[2]
        return np.concatenate([self.given[f"{part}.{kind}"] for part in parts])

    def _declare(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: Literal["float32", "uint8"],
        *,
        low: float,
        high: float,
    ) -> str:
        """Gives a new weight the next free page of the data file, so that it can be mapped."""
        if name not in self.weights:
            self.weights[name] = weight = Weight(
                name=name, shape=shape, dtype=dtype, low=low, high=high, offset=self.data_bytes
            )
            self.data_bytes += -(-weight.bytes // _PAGE) * _PAGE
        return name


def _external(weight: Weight) -> onnx.TensorProto:
    tensor = TensorProto(name=weight.name, dims=weight.shape, data_type=_ONNX_TYPE[weight.dtype])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=DATA_FILE)
    tensor.external_data.add(key="offset", value=str(weight.offset))
    tensor.external_data.add(key="length", value=str(weight.bytes))
    return tensor


def _state_info(name: str, state: StateTensor) -> onnx.ValueInfoProto:
    shape = ["capacity" if extent == 0 else extent for extent in state.shape]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
