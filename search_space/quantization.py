"""Storage formats of weight matrices: their sizes in bytes, and block quantisation in numpy."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Quantization: TypeAlias = Literal["fp32", "fp16", "int8", "int4"]
QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)

# The block size with which onnxruntime's MatMulNBits kernels are fastest. Each block has one
# float32 scale.
BLOCK = 32
_SCALE_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedMatrix:
    """A matrix (N, K) in symmetric blocks along K, in the format of onnxruntime's `MatMulNBits`.

    Attributes:
        bits: Bits per element, 4 or 8.
        columns: K, the number of columns without padding.
        blocks: Unsigned codes, shape (N, ceil(K / 32), 32 * bits / 8). The code 2^(bits - 1)
            represents zero. A byte holds two 4-bit codes, the first in its low half.
        scales: The difference between the values of consecutive codes, shape (N, ceil(K / 32)).
    """

    bits: int
    columns: int
    blocks: NDArray[np.uint8]
    scales: NDArray[np.float32]


def bits_of(quantization: Quantization) -> int:
    """Return the number of bits of one matrix element, not counting the scales."""
    return {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}[quantization]


def matrix_bytes(rows: int, columns: int, quantization: Quantization) -> int:
    """Return the bytes of a matrix; quantised rows are padded to full blocks and include scales."""
    bits = bits_of(quantization)
    if quantization in ("fp32", "fp16"):
        return rows * columns * bits // 8
    blocks = rows * -(-columns // BLOCK)
    return blocks * (BLOCK * bits // 8 + _SCALE_BYTES)


def vector_bytes(elements: int, quantization: Quantization) -> int:
    """Return the bytes of a norm, a bias or a convolution kernel.

    These are never stored as integers: they are fp16 in an fp16 model and fp32 in all others.
    """
    return elements * (2 if quantization == "fp16" else 4)


def quantize(matrix_NK: NDArray[np.float32], bits: Literal[4, 8]) -> QuantizedMatrix:
    """Quantise a matrix in symmetric blocks of 32 columns.

    The scale of a block is chosen so that the element of largest magnitude gets the lowest code and
    is exact. The other elements are rounded to the nearest code.

    Args:
        matrix_NK: The matrix.
        bits: Bits per element.
    """
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
