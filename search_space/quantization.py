"""How a weight matrix is stored: bits, blocks and scales, counted in bytes and done in numpy."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Quantization: TypeAlias = Literal["fp32", "fp16", "int8", "int4"]
QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)

# The block that onnxruntime's MatMulNBits kernels are fastest with; one float32 scale for each.
BLOCK = 32
_SCALE_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedMatrix:
    """A matrix (N, K) in symmetric blocks along K, as onnxruntime's `MatMulNBits` reads it.

    blocks: unsigned codes around 2^(bits - 1), two 4-bit codes a byte with the first in the low
        half: shape (N, ceil(K / 32), 32 bits / 8).
    scales: what one step is worth, shape (N, ceil(K / 32)).
    """

    bits: int
    columns: int
    blocks: NDArray[np.uint8]
    scales: NDArray[np.float32]


def bits_of(quantization: Quantization) -> int:
    """Bits of one matrix element, scales apart."""
    return {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}[quantization]


def matrix_bytes(rows: int, columns: int, quantization: Quantization) -> int:
    """Bytes of a matrix (rows, columns); quantised rows end in a full block and carry scales."""
    bits = bits_of(quantization)
    if quantization in ("fp32", "fp16"):
        return rows * columns * bits // 8
    blocks = rows * -(-columns // BLOCK)
    return blocks * (BLOCK * bits // 8 + _SCALE_BYTES)


def vector_bytes(elements: int, quantization: Quantization) -> int:
    """Bytes of norms, biases and convolution kernels, which integers do not serve: kept in fp32."""
    return elements * (2 if quantization == "fp16" else 4)


def quantize(matrix_NK: NDArray[np.float32], bits: Literal[4, 8]) -> QuantizedMatrix:
    """Each block's largest magnitude gets the lowest code; the others are rounded to its steps."""
    rows, columns = matrix_NK.shape
    padded = np.pad(matrix_NK, ((0, 0), (0, -columns % BLOCK))).reshape(rows, -1, BLOCK)
    middle = 1 << (bits - 1)
    largest = np.take_along_axis(padded, np.abs(padded).argmax(-1, keepdims=True), axis=-1)
    scales = largest / -middle
    steps = np.divide(padded, scales, out=np.zeros_like(padded), where=scales != 0)
    codes = np.clip(np.rint(steps) + middle, 0, 2 * middle - 1).astype(np.uint8)
    if bits == 4:
        codes = codes[..., 0::2] | codes[..., 1::2] << 4
    return QuantizedMatrix(
        bits=bits,
        columns=columns,
        blocks=np.ascontiguousarray(codes),
        scales=scales[..., 0].astype(np.float32),
    )
