"""Dequantisation, to compare a quantised matrix with the original."""

import numpy as np
from numpy.typing import NDArray

from search_space.quantization import QuantizedMatrix


def dequantize(quantized: QuantizedMatrix) -> NDArray[np.float32]:
    """Return the matrix (N, K) that the codes and scales represent."""
    codes = quantized.blocks
    if quantized.bits == 4:
        codes = np.stack([codes & 0xF, codes >> 4], axis=-1).reshape(*codes.shape[:-1], -1)
    middle = 1 << (quantized.bits - 1)
    steps = codes.astype(np.float32) - middle
    matrix = (steps * quantized.scales[..., None]).reshape(codes.shape[0], -1)
    return matrix[:, : quantized.columns]
