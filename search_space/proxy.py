"""The proxy of an Architecture: a narrower copy that is trained in place of the full-size model."""

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

# The matrix units of processors work on multiples of 16.
_GRAIN = 16
_LEAST_WIDTH = 32
_VOCABULARY_FRACTION = 1 / 32
_LEAST_VOCABULARY, _MOST_VOCABULARY = 512, 4_096
# In a window of one token, a token attends only to itself.
_LEAST_WINDOW = 2
# Half of what an Architecture may have, which leaves room for rounding up.
_MOST_HEADS = 512
_MOST_WIDENING = 64


def proxy_of(
    architecture: Architecture, width_share: float, window_share: float = 1.0
) -> Architecture:
    """Return a narrower copy of an architecture, for a small training budget.

    The proxy has the same layout, depth and kernels. These properties change:

    - The width becomes the multiple of 16 nearest to `width_share` times the width, and at least
      32. The feed-forward widths and the width of a factorised embedding are scaled in proportion,
      also to multiples of 16. A factorised embedding stays narrower than the model.
    - Attention heads have 16 channels, and their number is scaled so that all heads together are
      as wide in proportion as before. The number of query heads per key/value head is kept where
      it divides the number of heads, and is otherwise the nearest possible.
    - In linear attention, the narrower of keys and values has 16 channels, and the wider one keeps
      its ratio to it, rounded to a whole number of at most 64.
    - `rope_share` is rounded to a whole number of the 8 pairs in a head, and to at least one pair
      unless it is 0.
    - The vocabulary becomes the power of two nearest to 1/32 of its size, from 512 to 4,096.
    - Windows are multiplied by `window_share`, and are at least 2 tokens.
    - An `embedding_multiplier` other than 1 is multiplied by the square root of the ratio of the
      widths, because such multipliers grow with the square root of the width.

    All other options are kept.

    Args:
        architecture: The full-size architecture.
        width_share: Approximate ratio of the proxy's width to the full width; above 0 and at
            most 1.
        window_share: Factor for windows; above 0 and at most 1. With the ratio of the proxy's
            context length to the target's, a window covers the same fraction of both contexts.

    Raises:
        ValueError: A factor is out of range.
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
    """Return the group size whose product is nearest to `heads`; `wanted` decides ties."""
    below = max(1, heads // kv_heads)
    return min(
        (below, below + 1), key=lambda group: (abs(kv_heads * group - heads), abs(group - wanted))
    )


def _linear_attention(mixer: LinearAttention, scale: float) -> LinearAttention:
    """Give the narrower of keys and values 16 channels; the wider one keeps its ratio to it."""
    narrow = min(mixer.key_dim, mixer.value_dim)
    key_dim = HEAD_DIM * min(_MOST_WIDENING, _count(mixer.key_dim / narrow))
    value_dim = HEAD_DIM * min(_MOST_WIDENING, _count(mixer.value_dim / narrow))
    return LinearAttention(
        heads=_count(mixer.heads * mixer.value_dim * scale / value_dim),
        key_dim=key_dim,
        value_dim=value_dim,
    )


def _window(window: int | None, factor: float) -> int | None:
    return None if window is None else max(_LEAST_WINDOW, round(window * factor))


def _rope_share(share: float) -> float:
    """Round to whole pairs of the smaller head, at least one if the larger head rotates at all."""
    pairs = HEAD_DIM // 2
    return 0.0 if share == 0.0 else max(1, round(pairs * share)) / pairs


def _embedding_width(architecture: Architecture, width: int) -> int:
    """Keep the ratio to the width; a factorised embedding stays narrower than the model."""
    if not architecture.factorised:
        return width
    ratio = architecture.embedding_width / architecture.width
    return min(width - _GRAIN, _to_grain(width * ratio))


def _embedding_multiplier(multiplier: float, scale: float) -> float:
    # A multiplier other than 1 is the square root of the width (Gemma).
    return 1.0 if multiplier == 1.0 else multiplier * math.sqrt(scale)


def _vocabulary(vocab_size: int) -> int:
    nearest = int(2 ** round(math.log2(vocab_size * _VOCABULARY_FRACTION)))
    return min(_MOST_VOCABULARY, max(_LEAST_VOCABULARY, nearest))


def _to_grain(size: float) -> int:
    return _GRAIN * max(1, math.floor(size / _GRAIN + 0.5))


def _count(number: float) -> int:
    return min(_MOST_HEADS, max(1, math.floor(number + 0.5)))
