"""Published models, and a few models of our own to compare them with, as Architectures.

The shapes of published models are those of their own configurations. Llama 3.2's long-context
rescaling of rotary frequencies is left out because it changes neither shapes nor costs.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from search_space.architecture import Architecture, Attention, Layer, Mixer, ShortConv


def _lfm2(
    width: int, depth: int, attention_at: tuple[int, ...], feed_forward_width: int
) -> Architecture:
    attention = Attention(heads=width // 64, kv_heads=8, head_dim=64)
    mixers: list[Mixer] = [
        attention if index in attention_at else ShortConv(kernel=3) for index in range(depth)
    ]
    return _stack(mixers, feed_forward_width, vocab_size=65_536, width=width)


def _small_hybrid() -> Architecture:
    """Return 20 million parameters in LFM2's proportions, a third of them in the embedding."""
    attention = Attention(heads=6, kv_heads=2, head_dim=64)
    mixers: list[Mixer] = [
        attention if letter == "a" else ShortConv(kernel=3) for letter in "ccaccaca"
    ]
    return _stack(mixers, 1_024, vocab_size=16_384, width=384)


def _lfm3() -> Architecture:
    full = Attention(heads=16, kv_heads=4, head_dim=128, head_gate=True, rope_share=0.5)
    sliding = replace(full, window=256, rope_base=1e4, rope_share=1.0)
    mixers: list[Mixer] = [ShortConv(kernel=7)] * 24
    mixers[2::4] = [full] * 6
    mixers[4::4] = [sliding] * 5
    dense = _stack(mixers, 7_680, vocab_size=128_000, width=2_048)
    return replace(dense, sandwich_norm=True)


def _gemma3(width: int, depth: int, feed_forward_width: int) -> Architecture:
    full = Attention(heads=4, kv_heads=1, head_dim=256)
    sliding = replace(full, window=512, rope_base=1e4)
    mixers: list[Mixer] = [full if index % 6 == 5 else sliding for index in range(depth)]
    dense = _stack(mixers, feed_forward_width, vocab_size=262_144, width=width)
    return replace(
        dense,
        sandwich_norm=True,
        activation="gelu_tanh",
        norm_eps=1e-6,
        embedding_multiplier=math.sqrt(width),
    )


def _dense(
    attention: Attention,
    depth: int,
    feed_forward_width: int,
    *,
    vocab_size: int,
    width: int,
    norm_eps: float,
) -> Architecture:
    stack = _stack([attention] * depth, feed_forward_width, vocab_size=vocab_size, width=width)
    return replace(stack, norm_eps=norm_eps)


def _llama(heads: int, kv_heads: int, head_dim: int, rope_base: float) -> Attention:
    return Attention(
        heads=heads, kv_heads=kv_heads, head_dim=head_dim, qk_norm=False, rope_base=rope_base
    )


def _stack(
    mixers: list[Mixer], feed_forward_width: int, *, vocab_size: int, width: int
) -> Architecture:
    return Architecture(
        vocab_size=vocab_size,
        width=width,
        embedding_width=width,
        layers=tuple(Layer(mixer=mixer, feed_forward_width=feed_forward_width) for mixer in mixers),
    )


_SIXTEEN = (2, 5, 8, 10, 12, 14)

PUBLISHED: Mapping[str, Architecture] = MappingProxyType(
    {
        "lfm2.5-230m": _lfm2(1_024, 14, (2, 4, 6, 8, 10, 12), 2_560),
        "lfm2-350m": _lfm2(1_024, 16, _SIXTEEN, 4_608),
        "lfm2-700m": _lfm2(1_536, 16, _SIXTEEN, 6_912),
        "lfm2-1.2b": _lfm2(2_048, 16, _SIXTEEN, 8_192),
        "lfm2-2.6b": _lfm2(2_048, 30, (2, 5, 9, 13, 17, 21, 24, 27), 10_752),
        "lfm3-1.7b": _lfm3(),
        "gemma-3-270m": _gemma3(640, 18, 2_048),
        "gemma-3-1b": _gemma3(1_152, 26, 6_912),
        "qwen3-0.6b": _dense(
            Attention(heads=16, kv_heads=8, head_dim=128),
            28,
            3_072,
            vocab_size=151_936,
            width=1_024,
            norm_eps=1e-6,
        ),
        "qwen2.5-0.5b": _dense(
            Attention(heads=14, kv_heads=2, head_dim=64, qk_norm=False, qkv_bias=True),
            24,
            4_864,
            vocab_size=151_936,
            width=896,
            norm_eps=1e-6,
        ),
        "llama-3.2-1b": _dense(
            _llama(32, 8, 64, 5e5), 16, 8_192, vocab_size=128_256, width=2_048, norm_eps=1e-5
        ),
        "smollm2-135m": _dense(
            _llama(9, 3, 64, 1e5), 30, 1_536, vocab_size=49_152, width=576, norm_eps=1e-5
        ),
        "smollm2-360m": _dense(
            _llama(15, 5, 64, 1e5), 32, 2_560, vocab_size=49_152, width=960, norm_eps=1e-5
        ),
        "mobilellm-350m": _dense(
            _llama(15, 5, 64, 1e4), 32, 2_560, vocab_size=32_000, width=960, norm_eps=1e-5
        ),
    }
)

# The two extremes of the hybrids with the shape of LFM2-350M, and a hybrid for studies of small
# models, because nobody publishes one of that size.
OURS: Mapping[str, Architecture] = MappingProxyType(
    {
        "lfm2-350m-all-conv": _lfm2(1_024, 16, (), 4_608),
        "lfm2-350m-all-attention": _lfm2(1_024, 16, tuple(range(16)), 4_608),
        "hybrid-20m": _small_hybrid(),
    }
)

PRESETS: Mapping[str, Architecture] = MappingProxyType({**PUBLISHED, **OURS})


def preset(name: str) -> Architecture:
    """Return the preset with this name.

    Raises:
        ValueError: There is no such preset; the message lists the names.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: '{name}' is not one of {', '.join(PRESETS)}")
    return PRESETS[name]
