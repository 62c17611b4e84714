"""Which of llama.cpp's model families fits an Architecture, and which features none supports."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias, assert_never

from search_space.architecture import Architecture, Attention, LinearAttention, Mixer, ShortConv

# llama.cpp's families of models, each with its own tensors, order of operations and limits:
# `llama` has attention without head norms, `qwen3` attention with head norms, `lfm2` convolutions
# and attention, `gemma3` attention with sandwich norms.
LlamaCppFamily: TypeAlias = Literal["lfm2", "qwen3", "llama", "gemma3"]
LlamaCppMixer: TypeAlias = ShortConv | Attention
"""A mixer that at least one family supports."""


def unsupported_by_llama_cpp(architecture: Architecture) -> str | None:
    """Return why llama.cpp cannot run an architecture, as a clause; None if it can."""
    obstacles = _obstacles(architecture)
    return next((f"llama.cpp {clause}" for is_met, clause in obstacles if is_met), None)


def family_of(architecture: Architecture) -> LlamaCppFamily:
    """Return the family of an architecture that llama.cpp supports."""
    mixers = [layer.mixer for layer in architecture.layers]
    if architecture.sandwich_norm:
        return "gemma3"
    if any(isinstance(mixer, ShortConv) for mixer in mixers):
        return "lfm2"
    return "qwen3" if any(mixer.qk_norm for mixer in attention_of(architecture)) else "llama"


def supported_mixer(mixer: Mixer | None) -> LlamaCppMixer:
    """Return a mixer of an architecture that llama.cpp supports, with the narrower type."""
    found = _supported_or_name(mixer)
    assert not isinstance(found, str), f"llama.cpp does not support {found}"
    return found


def attention_of(architecture: Architecture) -> list[Attention]:
    """Return the attention mixers, from the first layer on."""
    mixers = [layer.mixer for layer in architecture.layers]
    return [mixer for mixer in mixers if isinstance(mixer, Attention)]


def _obstacles(architecture: Architecture) -> Iterator[tuple[bool, str]]:
    """Yield whether each limit of the families above is violated, with a clause that states it.

    Other families of llama.cpp may support what these do not.
    """
    attention = attention_of(architecture)
    windows = {mixer.window for mixer in attention}
    for layer in architecture.layers:
        found = _supported_or_name(layer.mixer)
        yield isinstance(found, str), f"does not support {found}"
    yield architecture.factorised, "does not support factorised embeddings"
    yield any(mixer.head_gate for mixer in attention), "does not support head gates"
    partial = any(mixer.rope_share != 1.0 for mixer in attention)
    yield partial, "does not support partially rotated heads"
    hidden = {layer.feed_forward_width for layer in architecture.layers}
    yield len(hidden) > 1, "requires the same feed-forward width in all layers"
    heads = {(mixer.heads, mixer.head_dim) for mixer in attention}
    yield len(heads) > 1, "requires the same number and size of heads in all attention layers"
    head_norms = {mixer.qk_norm for mixer in attention}
    yield len(head_norms) > 1, "requires head norms in all attention layers or in none"
    yield len(windows - {None}) > 1, "requires the same window in all sliding-window layers"
    match family_of(architecture):
        case "lfm2":
            yield from _obstacles_of_lfm2(architecture, attention)
        case "gemma3":
            yield from _obstacles_of_gemma3(architecture, attention)
        case "llama" | "qwen3":
            yield (
                windows != {None},
                "supports sliding windows only in models with convolutions or sandwich norms",
            )
            yield from _obstacles_without_sandwich_norms(architecture)
            yield (
                _rotary_bases(attention) > 1,
                "requires the same rotary base in all layers of full attention",
            )
            yield (
                _key_heads(attention) > 1,
                "requires the same number of key/value heads in all layers of models with "
                "attention only",
            )


def _supported_or_name(mixer: Mixer | None) -> LlamaCppMixer | str:
    """Return a mixer that a family supports, or what a mixer is called that none supports."""
    match mixer:
        case ShortConv() | Attention():
            return mixer
        case LinearAttention():
            return "gated linear attention"
        case None:
            return "layers without a mixer"
        case _:
            assert_never(mixer)


def _obstacles_of_lfm2(
    architecture: Architecture, attention: Sequence[Attention]
) -> Iterator[tuple[bool, str]]:
    # Both kinds of layers share one cache, which aborts if there are no layers of either kind.
    yield not attention, "does not support convolutions without an attention layer"
    unnormed = any(not mixer.qk_norm for mixer in attention)
    yield unnormed, "requires head norms in models with convolutions"
    wide = any(mixer.heads * mixer.head_dim != architecture.width for mixer in attention)
    yield wide, "requires heads that add up to the model's width in models with convolutions"
    windows = {mixer.window for mixer in attention}
    yield (
        len(windows) > 1,
        "requires windows in all attention layers or in none in models with convolutions",
    )
    yield (
        _rotary_bases(attention) > 1,
        "requires the same rotary base in all attention layers of models with convolutions",
    )
    yield from _obstacles_without_sandwich_norms(architecture)


def _obstacles_of_gemma3(
    architecture: Architecture, attention: Sequence[Attention]
) -> Iterator[tuple[bool, str]]:
    yield (
        len(attention) < len(architecture.layers),
        "does not support convolutions in models with sandwich norms",
    )
    unnormed = any(not mixer.qk_norm for mixer in attention)
    yield unnormed, "requires head norms in models with sandwich norms"
    silu = architecture.activation == "silu"
    yield silu, "does not support the activation silu in models with sandwich norms"
    root = math.sqrt(architecture.width)
    scaled = math.isclose(architecture.embedding_multiplier, root)
    yield (
        not scaled,
        "requires embeddings multiplied by the square root of the width in models with sandwich "
        "norms",
    )
    yield (
        _key_heads(attention) > 1,
        "requires the same number of key/value heads in all layers of models with sandwich norms",
    )
    for kind, group in (
        ("full", [mixer for mixer in attention if mixer.window is None]),
        ("sliding-window", [mixer for mixer in attention if mixer.window is not None]),
    ):
        yield (
            _rotary_bases(group) > 1,
            f"requires the same rotary base in all layers of {kind} attention",
        )


def _obstacles_without_sandwich_norms(architecture: Architecture) -> Iterator[tuple[bool, str]]:
    yield (
        architecture.activation != "silu",
        "requires the activation silu in models without sandwich norms",
    )
    yield (
        architecture.embedding_multiplier != 1.0,
        "does not support multiplied embeddings in models without sandwich norms",
    )


def _rotary_bases(attention: Sequence[Attention]) -> int:
    return len({mixer.rope_base for mixer in attention})


def _key_heads(attention: Sequence[Attention]) -> int:
    return len({mixer.kv_heads for mixer in attention})
