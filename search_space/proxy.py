"""The scaled-down Architecture that stands for a full-size one in training: the same, narrower."""

import math
from dataclasses import replace
from typing import assert_never

from search_space.architecture import (
    Architecture,
    Attention,
    Layer,
    LinearAttention,
    Mixer,
    ShortConv,
)

HEAD_DIM = 16

# Matrix units work in multiples of 16.
_GRAIN = 16
_LEAST_WIDTH = 32
_VOCABULARY_SHARE = 1 / 32
_LEAST_VOCABULARY, _MOST_VOCABULARY = 512, 4_096
# A window of one token sees nothing before it.
_LEAST_WINDOW = 2
# Room for rounding up below the most that an Architecture may have.
_MOST_HEADS = 512
_MOST_WIDENING = 64


def proxy_of(
    architecture: Architecture, width_share: float, window_share: float = 1.0
) -> Architecture:
    """The same layout and depth at about `width_share` of the width, for a small training budget.

    Widths become multiples of 16; heads have 16 channels, their number follows the width, and they
    share keys and values in groups as large as before where that divides. The vocabulary becomes
    the power of two nearest to a 32nd, from 512 to 4,096. Windows are multiplied by `window_share`:
    with the proxy's context length over the target's, a window covers the same share of both.
    Kernels and options are kept.
    """
    if not 0.0 < width_share <= 1.0:
        raise ValueError(f"width_share: {width_share} is not above 0 and at most 1")
    if not 0.0 < window_share <= 1.0:
        raise ValueError(f"window_share: {window_share} is not above 0 and at most 1")
    width = max(_LEAST_WIDTH, _to_grain(architecture.width * width_share))
    scale = min(1.0, width / architecture.width)
    return replace(
        architecture,
        vocab_size=_vocabulary(architecture.vocab_size),
        width=width,
        embedding_width=_embedding_width(architecture, width),
        layers=tuple(
            Layer(
                mixer=_mixer(layer.mixer, scale, window_share),
                feed_forward_width=_to_grain(layer.feed_forward_width * scale),
            )
            for layer in architecture.layers
        ),
        embedding_multiplier=_embedding_multiplier(architecture.embedding_multiplier, scale),
    )


def _mixer(mixer: Mixer | None, scale: float, window_share: float) -> Mixer | None:
    match mixer:
        case None | ShortConv():
            return mixer
        case Attention():
            heads = _count(mixer.heads * mixer.head_dim * scale / HEAD_DIM)
            group = mixer.heads // mixer.kv_heads
            kv_heads = _count(heads / group)
            return replace(
                mixer,
                heads=kv_heads * _group_size(heads, kv_heads, wanted=group),
                kv_heads=kv_heads,
                head_dim=HEAD_DIM,
                window=_window(mixer.window, window_share),
                rope_share=_rope_share(mixer.rope_share),
            )
        case LinearAttention():
            return _linear_attention(mixer, scale)
        case _:
            assert_never(mixer)


def _group_size(heads: int, kv_heads: int, wanted: int) -> int:
    """Query heads to a key/value head: the product near `heads`, a tie going to `wanted`."""
    below = max(1, heads // kv_heads)
    return min(
        (below, below + 1), key=lambda group: (abs(kv_heads * group - heads), abs(group - wanted))
    )


def _linear_attention(mixer: LinearAttention, scale: float) -> LinearAttention:
    """The narrower of keys and values gets the 16 channels, the other keeps its ratio to it."""
    narrow = min(mixer.key_dim, mixer.value_dim)
    key_dim = HEAD_DIM * min(_MOST_WIDENING, _count(mixer.key_dim / narrow))
    value_dim = HEAD_DIM * min(_MOST_WIDENING, _count(mixer.value_dim / narrow))
    return LinearAttention(
        heads=_count(mixer.heads * mixer.value_dim * scale / value_dim),
        key_dim=key_dim,
        value_dim=value_dim,
    )


def _window(window: int | None, share: float) -> int | None:
    return None if window is None else max(_LEAST_WINDOW, round(window * share))


def _rope_share(share: float) -> float:
    """Whole pairs of the smaller head; one at least where the larger head rotates at all."""
    pairs = HEAD_DIM // 2
    return 0.0 if share == 0.0 else max(1, round(pairs * share)) / pairs


def _embedding_width(architecture: Architecture, width: int) -> int:
    """The same share of the width; an embedding that was narrower stays so."""
    if not architecture.factorised:
        return width
    share = architecture.embedding_width / architecture.width
    return min(width - _GRAIN, _to_grain(width * share))


def _embedding_multiplier(multiplier: float, scale: float) -> float:
    # Where there is one, it is the root of the width.
    return 1.0 if multiplier == 1.0 else multiplier * math.sqrt(scale)


def _vocabulary(vocab_size: int) -> int:
    nearest = int(2 ** round(math.log2(vocab_size * _VOCABULARY_SHARE)))
    return min(_MOST_VOCABULARY, max(_LEAST_VOCABULARY, nearest))


def _to_grain(size: float) -> int:
    return _GRAIN * max(1, math.floor(size / _GRAIN + 0.5))


def _count(number: float) -> int:
    return min(_MOST_HEADS, max(1, math.floor(number + 0.5)))
