"""Which of llama.cpp's families an Architecture belongs to, and what it has beyond that one."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from search_space.architecture import Architecture, Attention, LinearAttention, ShortConv

# What llama.cpp calls a family of models, each with tensors, order of operations and limits of its
# own: `llama` has attention without head norms, `qwen3` with them, `lfm2` with convolutions beside
# it, `gemma3` with sandwich norms.
Family: TypeAlias = Literal["lfm2", "qwen3", "llama", "gemma3"]


def unsupported_by_llama_cpp(architecture: Architecture) -> str | None:
    """What llama.cpp cannot express of it, as a clause that reads alone; None where it can."""
    obstacles = _obstacles(architecture)
    return next((f"llama.cpp has {has}" for exceeded, has in obstacles if exceeded), None)


def family_of(architecture: Architecture) -> Family:
    """Of an architecture that llama.cpp can express."""
    mixers = [layer.mixer for layer in architecture.layers]
    if architecture.sandwich_norm:
        return "gemma3"
    if any(isinstance(mixer, ShortConv) for mixer in mixers):
        return "lfm2"
    return "qwen3" if any(mixer.qk_norm for mixer in attention_of(architecture)) else "llama"


def attention_of(architecture: Architecture) -> list[Attention]:
    mixers = [layer.mixer for layer in architecture.layers]
    return [mixer for mixer in mixers if isinstance(mixer, Attention)]


def _obstacles(architecture: Architecture) -> Iterator[tuple[bool, str]]:
    """What llama.cpp has, each with whether the architecture goes beyond it."""
    mixers = [layer.mixer for layer in architecture.layers]
    attention = attention_of(architecture)
    linear = any(isinstance(mixer, LinearAttention) for mixer in mixers)
    windows = {mixer.window for mixer in attention}
    yield None in mixers, "no layers without a mixer"
    yield linear, "no gated linear attention beside these layers"
    yield architecture.factorised, "no factorised embedding"
    yield any(mixer.head_gate for mixer in attention), "no head gates in these layers"
    partly = any(mixer.rope_share != 1.0 for mixer in attention)
    yield partly, "no partly rotated heads in these layers"
    hidden = {layer.feed_forward_width for layer in architecture.layers}
    yield len(hidden) > 1, "one feed-forward width for all layers"
    heads = {(mixer.heads, mixer.head_dim) for mixer in attention}
    yield len(heads) > 1, "one head shape for all attention layers"
    head_norms = {mixer.qk_norm for mixer in attention}
    yield len(head_norms) > 1, "head norms in all attention layers or in none"
    yield len(windows - {None}) > 1, "one window for all sliding-window layers"
    match family_of(architecture):
        case "lfm2":
            yield from _obstacles_of_lfm2(architecture, attention)
        case "gemma3":
            yield from _obstacles_of_gemma3(architecture, attention)
        case "llama" | "qwen3":
            yield windows != {None}, "sliding windows beside convolutions or sandwich norms only"
            yield from _obstacles_of_silu(architecture)
            yield _bases(attention) > 1, "one rotary base for all layers of full attention"
            yield _key_heads(attention) > 1, "one number of key/value heads in pure attention"


def _obstacles_of_lfm2(
    architecture: Architecture, attention: Sequence[Attention]
) -> Iterator[tuple[bool, str]]:
    # The caches of both kinds of layers are one, which aborts when either is empty.
    yield not attention, "no stack of convolutions without an attention layer"
    unnormed = any(not mixer.qk_norm for mixer in attention)
    yield unnormed, "no attention without head norms beside convolutions"
    wide = any(mixer.heads * mixer.head_dim != architecture.width for mixer in attention)
    yield wide, "heads that add up to the model's width, beside convolutions"
    windows = {mixer.window for mixer in attention}
    yield len(windows) > 1, "windows in all attention layers beside convolutions or in none"
    yield _bases(attention) > 1, "one rotary base for all attention layers beside convolutions"
    yield from _obstacles_of_silu(architecture)


def _obstacles_of_gemma3(
    architecture: Architecture, attention: Sequence[Attention]
) -> Iterator[tuple[bool, str]]:
    yield len(attention) < len(architecture.layers), "no convolutions beside sandwich norms"
    unnormed = any(not mixer.qk_norm for mixer in attention)
    yield unnormed, "no attention without head norms beside sandwich norms"
    silu = architecture.activation == "silu"
    yield silu, "no silu beside sandwich norms"
    root = math.sqrt(architecture.width)
    scaled = math.isclose(architecture.embedding_multiplier, root)
    yield not scaled, "an embedding times the root of the width beside sandwich norms"
    yield _key_heads(attention) > 1, "one number of key/value heads beside sandwich norms"
    for kind, alike in (
        ("full", [mixer for mixer in attention if mixer.window is None]),
        ("sliding-window", [mixer for mixer in attention if mixer.window is not None]),
    ):
        yield _bases(alike) > 1, f"one rotary base for all layers of {kind} attention"


def _obstacles_of_silu(architecture: Architecture) -> Iterator[tuple[bool, str]]:
    yield architecture.activation != "silu", "no activation but silu in these layers"
    yield architecture.embedding_multiplier != 1.0, "no multiplied embedding before these layers"


def _bases(attention: Sequence[Attention]) -> int:
    return len({mixer.rope_base for mixer in attention})


def _key_heads(attention: Sequence[Attention]) -> int:
    return len({mixer.kv_heads for mixer in attention})
