"""Rotary position tables in numpy, which the torch and the ONNX model share.

Shapes: T positions, R pairs of channels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_space.architecture import Attention


@dataclass(frozen=True, slots=True, kw_only=True)
class RotaryTable:
    """Cosine and sine of each pair's angle at positions 0 to T - 1.

    Pair i consists of the channels i and i + head_dim / 2.

    Attributes:
        cos_TR: Cosines of the angles.
        sin_TR: Sines of the angles.
    """

    cos_TR: NDArray[np.float32]
    sin_TR: NDArray[np.float32]


def rotary_table(attention: Attention, length: int) -> RotaryTable:
    """Return the rotary table of an attention mixer.

    The angle of pair i at position t is `t * base^(-2i / head_dim)` (RoFormer, arXiv 2104.09864,
    eq. 15). The pairs beyond the fraction `rope_share` do not rotate: their cosine is 1 and their
    sine is 0 (transformers calls this "proportional").

    Args:
        attention: The mixer.
        length: T, the number of positions.
    """
    pairs = attention.head_dim // 2
    turning = round(pairs * attention.rope_share)
    frequency_R = attention.rope_base ** (-np.arange(pairs) / pairs)
    frequency_R[turning:] = 0.0
    angle_TR = np.arange(length)[:, None] * frequency_R
    return RotaryTable(
        cos_TR=np.cos(angle_TR).astype(np.float32), sin_TR=np.sin(angle_TR).astype(np.float32)
    )
