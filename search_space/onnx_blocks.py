"""The blocks of the ONNX model: the same graph reads a prompt and writes one token.

Batch 1, T time, D width, H query heads, K key/value heads, d head size (k of keys, v of values),
F feed-forward, W kernel width. `torch_blocks.py` has the same blocks with the same names in the
same order; the drawings of what they compute are there. What several projections read alike is one
product here.
"""

from collections.abc import Mapping
from typing import assert_never

import numpy as np

from search_space.architecture import (
    DECAY_TEMPERATURE,
    Architecture,
    Attention,
    LinearAttention,
    Mixer,
    ShortConv,
)
from search_space.onnx_graph import FUSED, GraphWriter
from search_space.rotary import rotary_table

# Values that the model's own inputs and constants define, for blocks to read.
TOKENS = "tokens"
TOTAL_LENGTH = "total_length"  # tokens seen when this run ends: a scalar
LAST_POSITION = "last_position"  # total_length - 1, as a vector of one


def short_conv(graph: GraphWriter, x: str, name: str, mixer: ShortConv, width: int) -> str:
    projected = graph.linear(x, f"{name}.in_proj", rows=3 * width, columns=width)
    gate_in, gate_out, u = _split(
        graph, projected, name, {"gate_in": width, "gate_out": width, "u": width}
    )
    gated = graph.add("Mul", [gate_in, u], f"{name}.gated")
    spread = mixer.kernel**-0.5
    if mixer.kernel == 1:  # no history: the convolution is a product, and has no state
        kernel = graph.vector(f"{name}.kernel_DW", (width,), low=-spread, high=spread)
        mixed = graph.add("Mul", [gated, kernel], f"{name}.conv")
    else:
        state = graph.state(name, (1, mixer.kernel - 1, width), in_place=False)
        kernel = graph.vector(
            f"{name}.kernel_DW", (width, 1, mixer.kernel), low=-spread, high=spread
        )
        mixed = graph.add(
            "CausalConvWithState",
            [gated, kernel, "", state.past],
            f"{name}.conv",
            domain=FUSED,
            outputs=[f"{name}.conv", state.present],
            ndim=1,
            channels_last=1,
            activation="none",
        )
    product = graph.add("Mul", [gate_out, mixed], f"{name}.product")
    return graph.linear(product, f"{name}.out_proj", rows=width, columns=width)


def attention(
    graph: GraphWriter,
    x: str,
    name: str,
    mixer: Attention,
    architecture: Architecture,
    context_length: int,
) -> str:
    width, head_dim = architecture.width, mixer.head_dim
    heads_width, kv_width = mixer.heads * head_dim, mixer.kv_heads * head_dim

    def normed(part: str, value: str, heads: int) -> str:
        split = _reshape(graph, value, f"{name}.{part}_heads", (0, 0, heads, head_dim))
        norm = graph.norm(split, f"{name}.{part}_norm", head_dim, architecture.norm_eps)
        return _reshape(graph, norm, f"{name}.{part}_joined", (0, 0, heads * head_dim))

    # One product for all three: three small ones cost a small model 4 % of its decoding.
    packed = graph.linear(
        x,
        f"{name}.qkv_proj",
        rows=heads_width + 2 * kv_width,
        columns=width,
        bias=mixer.qkv_bias,
        parts=[f"{name}.{part}_proj" for part in "qkv"],
    )
    query, key, value = packed, "", ""
    if mixer.qk_norm:  # the fused operator norms heads on other providers only
        widths = {"q": heads_width, "k": kv_width, "v": kv_width}
        query, key, value = _split(graph, packed, name, widths)
        query, key = normed("q", query, mixer.heads), normed("k", key, mixer.kv_heads)
    # A window's cache is bounded; any other, also one that no context outgrows, has its capacity.
    window = mixer.window if mixer.window and mixer.window < context_length else None
    rows = window or 0
    keys = graph.state(f"{name}.key", (1, mixer.kv_heads, rows, head_dim), in_place=True)
    values = graph.state(f"{name}.value", (1, mixer.kv_heads, rows, head_dim), in_place=True)
    rotates = mixer.rope_share > 0
    mixed = graph.add(
        "GroupQueryAttention",
        [query, key, value, keys.past, values.past, LAST_POSITION, TOTAL_LENGTH]
        + (_rotary_constants(graph, mixer, context_length) if rotates else []),
        f"{name}.attention",
        domain=FUSED,
        outputs=[f"{name}.attention", keys.present, values.present],
        num_heads=mixer.heads,
        kv_num_heads=mixer.kv_heads,
        do_rotary=int(rotates),
        local_window_size=window or -1,
        sliding_window_cache=int(window is not None),
    )
    if mixer.head_gate:
        logits = graph.linear(x, f"{name}.gate_proj", rows=mixer.heads, columns=width)
        gate = graph.add("Sigmoid", [logits], f"{name}.gate")
        gate = _reshape(graph, gate, f"{name}.gate_heads", (0, 0, mixer.heads, 1))
        mixed = _reshape(graph, mixed, f"{name}.heads", (0, 0, mixer.heads, head_dim))
        mixed = graph.add("Mul", [mixed, gate], f"{name}.gated")
        mixed = _reshape(graph, mixed, f"{name}.joined", (0, 0, heads_width))
    return graph.linear(mixed, f"{name}.out_proj", rows=width, columns=heads_width)


def linear_attention(
    graph: GraphWriter, x: str, name: str, mixer: LinearAttention, architecture: Architecture
) -> str:
    width, heads = architecture.width, mixer.heads
    keys_width, values_width = heads * mixer.key_dim, heads * mixer.value_dim
    widths = {"q": keys_width, "k": keys_width, "v": values_width, "gate": values_width}
    packed = graph.linear(
        x,
        f"{name}.in_proj",
        rows=sum(widths.values()),
        columns=width,
        parts=[f"{name}.{part}_proj" for part in widths],
    )
    query, key, value, gate = _split(graph, packed, name, widths)
    # log sigmoid(z) / temperature = softplus(-z) * (-1 / temperature)
    logits = graph.linear(x, f"{name}.decay_proj", rows=heads, columns=width, bias=True)
    negated = graph.add("Neg", [logits], f"{name}.negated")
    softplus = graph.add("Softplus", [negated], f"{name}.softplus")
    factor = graph.constant("decay_factor", np.float32(-1.0 / DECAY_TEMPERATURE).reshape(1))
    log_decay = graph.add("Mul", [softplus, factor], f"{name}.log_decay")
    state = graph.state(name, (1, heads, mixer.key_dim, mixer.value_dim), in_place=False)
    mixed = graph.add(
        "LinearAttention",
        [query, key, value, state.past, log_decay],
        f"{name}.attention",
        domain=FUSED,
        outputs=[f"{name}.attention", state.present],
        q_num_heads=heads,
        kv_num_heads=heads,
        update_rule="gated",
        scale=mixer.key_dim**-0.5,
    )
    mixed = _reshape(graph, mixed, f"{name}.heads", (0, 0, heads, mixer.value_dim))
    mixed = graph.norm(mixed, f"{name}.norm", mixer.value_dim, architecture.norm_eps)
    mixed = _reshape(graph, mixed, f"{name}.joined", (0, 0, values_width))
    gate = graph.add("QuickGelu", [gate], f"{name}.active", domain=FUSED, alpha=1.0)  # SiLU
    gated = graph.add("Mul", [mixed, gate], f"{name}.gated")
    return graph.linear(gated, f"{name}.out_proj", rows=width, columns=values_width)


def feed_forward(
    graph: GraphWriter, x: str, name: str, hidden: int, architecture: Architecture
) -> str:
    width = architecture.width
    gate = graph.linear(x, f"{name}.gate_proj", rows=hidden, columns=width)
    up = graph.linear(x, f"{name}.up_proj", rows=hidden, columns=width)
    match architecture.activation:
        case "silu":
            active = graph.add("QuickGelu", [gate], f"{name}.active", domain=FUSED, alpha=1.0)
        case "gelu_tanh":
            active = graph.add("Gelu", [gate], f"{name}.active", approximate="tanh")
        case _:
            assert_never(architecture.activation)
    product = graph.add("Mul", [active, up], f"{name}.product")
    return graph.linear(product, f"{name}.down_proj", rows=width, columns=hidden)


def mixer_block(
    graph: GraphWriter,
    x: str,
    name: str,
    mixer: Mixer,
    architecture: Architecture,
    context_length: int,
) -> str:
    match mixer:
        case ShortConv():
            return short_conv(graph, x, name, mixer, architecture.width)
        case Attention():
            return attention(graph, x, name, mixer, architecture, context_length)
        case LinearAttention():
            return linear_attention(graph, x, name, mixer, architecture)
        case _:
            assert_never(mixer)


def _split(graph: GraphWriter, x: str, name: str, widths: Mapping[str, int]) -> list[str]:
    """Values `name.part`, in order, of these widths along the last axis."""
    wanted = "widths_" + "_".join(map(str, widths.values()))
    sizes = graph.constant(wanted, np.array(list(widths.values()), dtype=np.int64))
    parts = [f"{name}.{part}" for part in widths]
    graph.add("Split", [x, sizes], f"{name}.split", outputs=parts, axis=-1)
    return parts


def _reshape(graph: GraphWriter, x: str, name: str, shape: tuple[int, ...]) -> str:
    """To `shape`, in which 0 keeps the extent."""
    wanted = "shape_" + "_".join(map(str, shape))
    constant = graph.constant(wanted, np.array(shape, dtype=np.int64))
    return graph.add("Reshape", [x, constant], name)


def _rotary_constants(graph: GraphWriter, mixer: Attention, length: int) -> list[str]:
    """Cosines and sines up to the context's length, once for all layers that turn alike."""
    kind = f"{mixer.head_dim}_{mixer.rope_base}_{mixer.rope_share}"
    table = rotary_table(mixer, length)
    return [
        graph.constant(f"cos_{kind}", table.cos_TR),
        graph.constant(f"sin_{kind}", table.sin_TR),
    ]
