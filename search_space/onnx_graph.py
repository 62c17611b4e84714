"""Writes an ONNX graph node by node; weights are declared first and written or drawn later."""

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

# The domain of onnxruntime's own operators: fused kernels that the ONNX standard does not have.
FUSED = "com.microsoft"
DATA_FILE = "model.onnx.data"
_PAGE = 4096
_OPSETS = (helper.make_opsetid("", 21), helper.make_opsetid(FUSED, 1))
_IR_VERSION = 10
_ONNX_TYPE = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A tensor in the data file.

    Two weights can refer to the same bytes in two shapes.

    Attributes:
        name: The name of the tensor in the graph.
        shape: Its shape.
        dtype: Its data type.
        low: The lower bound of the uniform distribution that values are drawn from if the file was
            written without weights.
        high: The upper bound, exclusive.
        offset: The position of its first byte in the data file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8"]
    low: float
    high: float
    offset: int

    @property
    def bytes(self) -> int:
        """The size in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTensor:
    """A float32 tensor that one run of the model passes on to the next.

    Attributes:
        past: The name of the input.
        present: The name of the output.
        shape: The shape; 0 stands for the capacity of the cache, in tokens.
        in_place: Whether past and present must be the same buffer.
    """

    past: str
    present: str
    shape: tuple[int, ...]
    in_place: bool


@dataclass(slots=True)
class GraphWriter:
    """A graph under construction. Methods that add a node return the name of its value.

    Attributes:
        quantization: The quantisation of matrices.
        given: The weights by their names in the torch model, quantised as they are added. If None,
            weights are only declared and are drawn where the file is run.
        nodes: The nodes, in order of execution.
        constants: Small tensors that are stored in the graph itself.
        weights: The declared weights by name.
        values: The values of the weights by name, if weights were given.
        states: The states, in the order of the graph's inputs.
        data_bytes: The size of the data file, in bytes.
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
        """Add a node.

        Args:
            operator: The type of the operator.
            inputs: The names of the input values; an empty string omits an optional input.
            name: The name of the node and, without `outputs`, of its value.
            domain: The domain of the operator.
            outputs: The names of all output values, if there are several.
            **attributes: The attributes of the operator.

        Returns:
            The name of the first output value.
        """
        names = list(outputs) or [name]
        node = helper.make_node(operator, inputs, names, name=name, domain=domain)
        node.attribute.extend(
            helper.make_attribute(key, value) for key, value in attributes.items()
        )
        self.nodes.append(node)
        return names[0]

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Add a small tensor to the graph itself, unless one of that name exists."""
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
        """Declare the weights of a norm, a bias or a kernel, which stay in float32.

        Args:
            name: The name of the weights.
            shape: Their shape.
            low: The lower bound of values drawn at random.
            high: The upper bound, exclusive.
            parts: Layers of the torch model whose weights are concatenated; none for one layer.

        Returns:
            The name of the tensor.
        """
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
        """Add a linear layer, `x W^T + b`, at the quantisation of the graph.

        Args:
            x: The name of the input value.
            name: The name of the layer; its weight is `name.weight`, (rows, columns).
            rows: The number of outputs.
            columns: The number of inputs.
            bias: Whether there is a bias, `name.bias`.
            value: The name of the output value, if it is not `name`.
            parts: Layers of the torch model that this one combines, row after row.

        Returns:
            The name of the output value.
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
            accuracy_level=4,  # activations in blocks of int8, as in deployment
        )

    def embedding(self, tokens: str, name: str, *, rows: int, columns: int) -> str:
        """Look up rows of the table `name.weight`; a tied head shares its tensors.

        Args:
            tokens: The name of the value that holds the row indices.
            name: The name of the layer and of the output value.
            rows: The size of the vocabulary.
            columns: The width of the embedding.

        Returns:
            The name of the output value.
        """
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
        """Add a root-mean-square norm over the last axis, with the weight `name.weight`."""
        weight = self.vector(f"{name}.weight", (width,), low=0.9, high=1.1)
        return self.add("SimplifiedLayerNormalization", [x, weight], name, axis=-1, epsilon=eps)

    def state(self, name: str, shape: tuple[int, ...], *, in_place: bool) -> StateTensor:
        """Declare a state with the values `past.name` and `present.name`; see `StateTensor`."""
        tensor = StateTensor(
            past=f"past.{name}", present=f"present.{name}", shape=shape, in_place=in_place
        )
        self.states.append(tensor)
        return tensor

    def model(
        self, inputs: Sequence[onnx.ValueInfoProto], output: onnx.ValueInfoProto
    ) -> onnx.ModelProto:
        """Return the finished model, whose weights are external data in `DATA_FILE`.

        Args:
            inputs: The inputs other than states.
            output: The output other than states.
        """
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
        """Declare a matrix once; return the name of its tensor, or of its blocks and scales."""
        spread = 3**0.5 * columns**-0.5  # gives a uniform distribution a variance of 1 / columns
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
        """Return the given weight of that name, or the concatenated weights of the parts."""
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
        """Place a new weight on the next free page of the data file, so that it can be mapped."""
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
