"""Rotary position tables in numpy: the torch and the ONNX model turn by the same numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_space.architecture import Attention


@dataclass(frozen=True, slots=True, kw_only=True)
class RotaryTable:
    """Cosine and sine of each pair's angle at positions 0 to T - 1.

    Pair i is made of the elements i and i + head_dim / 2.
    """

    cos_TR: NDArray[np.float32]
    sin_TR: NDArray[np.float32]


def rotary_table(attention: Attention, length: int) -> RotaryTable:
    """Angles `t * base^(-2i / head_dim)` (RoFormer, arXiv 2104.09864, eq. 15).

    The pairs behind `rope_share` do not turn: cosine 1, sine 0 (transformers' "proportional").
    """
    pairs = attention.head_dim // 2
    turning = round(pairs * attention.rope_share)
    frequency_R = attention.rope_base ** (-np.arange(pairs) / pairs)
    frequency_R[turning:] = 0.0
    angle_TR = np.arange(length)[:, None] * frequency_R
    return RotaryTable(
        cos_TR=np.cos(angle_TR).astype(np.float32), sin_TR=np.sin(angle_TR).astype(np.float32)
    )
