"""The blocks of the ONNX model; the same graph reads a prompt and writes one token at a time.

`torch_blocks.py` contains the same blocks, with the same names in the same order, and drawings of
what they compute. Here, projections of the same input are one matrix product. Variables hold the
names of values in the graph.

Shape suffixes: B batch (always 1), T time, D width, H query heads, K key/value heads, d head size
(k of keys, v of values), F feed-forward width, W kernel width, R rotary pairs, X any size.
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

# Names of values that the model defines from its inputs and that blocks read.
TOKENS = "tokens"
TOTAL_LENGTH = "total_length"  # the number of tokens seen when this run ends, a scalar
LAST_POSITION = "last_position"  # total_length - 1, a vector of one element


def short_conv(graph: GraphWriter, x_BTD: str, name: str, mixer: ShortConv, width: int) -> str:
    """Add a gated short convolution; see `torch_blocks.ShortConvBlock`.

    Args:
        graph: The graph to extend.
        x_BTD: The name of the input value.
        name: The prefix of all names that the block adds; so in all functions below.
        mixer: The mixer.
        width: The width of the model.

    Returns:
        The name of the output value, (B, T, D).
    """
    projected_BTX = graph.linear(x_BTD, f"{name}.in_proj", rows=3 * width, columns=width)
    gate_in_BTD, gate_out_BTD, u_BTD = _split(
        graph, projected_BTX, name, {"gate_in": width, "gate_out": width, "u": width}
    )
    gated_BTD = graph.add("Mul", [gate_in_BTD, u_BTD], f"{name}.gated")
    spread = mixer.kernel**-0.5
    if mixer.kernel == 1:  # without history, the convolution is a product and has no state
        kernel_D = graph.vector(f"{name}.kernel_DW", (width,), low=-spread, high=spread)
        y_BTD = graph.add("Mul", [gated_BTD, kernel_D], f"{name}.conv")
    else:
        state = graph.state(name, (1, mixer.kernel - 1, width), in_place=False)
        kernel_D1W = graph.vector(
            f"{name}.kernel_DW", (width, 1, mixer.kernel), low=-spread, high=spread
        )
        y_BTD = graph.add(
            "CausalConvWithState",
            [gated_BTD, kernel_D1W, "", state.past],
            f"{name}.conv",
            domain=FUSED,
            outputs=[f"{name}.conv", state.present],
            ndim=1,
            channels_last=1,
            activation="none",
        )
    product_BTD = graph.add("Mul", [gate_out_BTD, y_BTD], f"{name}.product")
    return graph.linear(product_BTD, f"{name}.out_proj", rows=width, columns=width)


def attention(
    graph: GraphWriter,
    x_BTD: str,
    name: str,
    mixer: Attention,
    architecture: Architecture,
    context_length: int,
) -> str:
    """Add grouped-query attention; see `torch_blocks.AttentionBlock`.

    Args:
        graph: The graph to extend.
        x_BTD: The name of the input value.
        name: The prefix of all names that the block adds.
        mixer: The mixer.
        architecture: The architecture of the model.
        context_length: The maximum number of tokens, for which rotary tables are written.

    Returns:
        The name of the output value, (B, T, D).
    """
    width, head_dim = architecture.width, mixer.head_dim
    heads_width, kv_width = mixer.heads * head_dim, mixer.kv_heads * head_dim

    def normed(part: str, value_BTX: str, heads: int) -> str:
        split_BTHd = _reshape(graph, value_BTX, f"{name}.{part}_heads", (0, 0, heads, head_dim))
        norm_BTHd = graph.norm(split_BTHd, f"{name}.{part}_norm", head_dim, architecture.norm_eps)
        return _reshape(graph, norm_BTHd, f"{name}.{part}_joined", (0, 0, heads * head_dim))

    # One product instead of three: three small ones cost a small model 4 % of its decoding speed.
    packed_BTX = graph.linear(
        x_BTD,
        f"{name}.qkv_proj",
        rows=heads_width + 2 * kv_width,
        columns=width,
        bias=mixer.qkv_bias,
        parts=[f"{name}.{part}_proj" for part in "qkv"],
    )
    q_BTX, k_BTX, v_BTX = packed_BTX, "", ""
    if mixer.qk_norm:  # on CPUs, the fused operator does not normalise heads
        widths = {"q": heads_width, "k": kv_width, "v": kv_width}
        q_BTX, k_BTX, v_BTX = _split(graph, packed_BTX, name, widths)
        q_BTX, k_BTX = normed("q", q_BTX, mixer.heads), normed("k", k_BTX, mixer.kv_heads)
    # The cache of a window is bounded. Any other cache has the capacity of the context, also that
    # of a window which no context exceeds.
    window = mixer.window if mixer.window and mixer.window < context_length else None
    rows = window or 0
    keys = graph.state(f"{name}.key", (1, mixer.kv_heads, rows, head_dim), in_place=True)
    values = graph.state(f"{name}.value", (1, mixer.kv_heads, rows, head_dim), in_place=True)
    rotates = mixer.rope_share > 0
    y_BTX = graph.add(
        "GroupQueryAttention",
        [q_BTX, k_BTX, v_BTX, keys.past, values.past, LAST_POSITION, TOTAL_LENGTH]
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
        logits_BTH = graph.linear(x_BTD, f"{name}.gate_proj", rows=mixer.heads, columns=width)
        gate_BTH = graph.add("Sigmoid", [logits_BTH], f"{name}.gate")
        gate_BTH1 = _reshape(graph, gate_BTH, f"{name}.gate_heads", (0, 0, mixer.heads, 1))
        y_BTHd = _reshape(graph, y_BTX, f"{name}.heads", (0, 0, mixer.heads, head_dim))
        y_BTHd = graph.add("Mul", [y_BTHd, gate_BTH1], f"{name}.gated")
        y_BTX = _reshape(graph, y_BTHd, f"{name}.joined", (0, 0, heads_width))
    return graph.linear(y_BTX, f"{name}.out_proj", rows=width, columns=heads_width)


def linear_attention(
    graph: GraphWriter, x_BTD: str, name: str, mixer: LinearAttention, architecture: Architecture
) -> str:
    """Add gated linear attention; see `torch_blocks.LinearAttentionBlock`.

    Args:
        graph: The graph to extend.
        x_BTD: The name of the input value.
        name: The prefix of all names that the block adds.
        mixer: The mixer.
        architecture: The architecture of the model.

    Returns:
        The name of the output value, (B, T, D).
    """
    width, heads = architecture.width, mixer.heads
    keys_width, values_width = heads * mixer.key_dim, heads * mixer.value_dim
    widths = {"q": keys_width, "k": keys_width, "v": values_width, "gate": values_width}
    packed_BTX = graph.linear(
        x_BTD,
        f"{name}.in_proj",
        rows=sum(widths.values()),
        columns=width,
        parts=[f"{name}.{part}_proj" for part in widths],
    )
    q_BTX, k_BTX, v_BTX, gate_BTX = _split(graph, packed_BTX, name, widths)
    # log sigmoid(z) / temperature = softplus(-z) * (-1 / temperature)
    logits_BTH = graph.linear(x_BTD, f"{name}.decay_proj", rows=heads, columns=width, bias=True)
    negated_BTH = graph.add("Neg", [logits_BTH], f"{name}.negated")
    softplus_BTH = graph.add("Softplus", [negated_BTH], f"{name}.softplus")
    factor = graph.constant("decay_factor", np.float32(-1.0 / DECAY_TEMPERATURE).reshape(1))
    log_decay_BTH = graph.add("Mul", [softplus_BTH, factor], f"{name}.log_decay")
    state = graph.state(name, (1, heads, mixer.key_dim, mixer.value_dim), in_place=False)
    y_BTX = graph.add(
        "LinearAttention",
        [q_BTX, k_BTX, v_BTX, state.past, log_decay_BTH],
        f"{name}.attention",
        domain=FUSED,
        outputs=[f"{name}.attention", state.present],
        q_num_heads=heads,
        kv_num_heads=heads,
        update_rule="gated",
        scale=mixer.key_dim**-0.5,
    )
    y_BTHv = _reshape(graph, y_BTX, f"{name}.heads", (0, 0, heads, mixer.value_dim))
    y_BTHv = graph.norm(y_BTHv, f"{name}.norm", mixer.value_dim, architecture.norm_eps)
    y_BTX = _reshape(graph, y_BTHv, f"{name}.joined", (0, 0, values_width))
    gate_BTX = graph.add("QuickGelu", [gate_BTX], f"{name}.active", domain=FUSED, alpha=1.0)  # SiLU
    gated_BTX = graph.add("Mul", [y_BTX, gate_BTX], f"{name}.gated")
    return graph.linear(gated_BTX, f"{name}.out_proj", rows=width, columns=values_width)


def feed_forward(
    graph: GraphWriter, x_BTD: str, name: str, feed_forward_width: int, architecture: Architecture
) -> str:
    """Add a gated feed-forward layer; see `torch_blocks.FeedForward`.

    Args:
        graph: The graph to extend.
        x_BTD: The name of the input value.
        name: The prefix of all names that the block adds.
        feed_forward_width: The number of hidden channels.
        architecture: The architecture of the model.

    Returns:
        The name of the output value, (B, T, D).
    """
    width = architecture.width
    gate_BTF = graph.linear(x_BTD, f"{name}.gate_proj", rows=feed_forward_width, columns=width)
    up_BTF = graph.linear(x_BTD, f"{name}.up_proj", rows=feed_forward_width, columns=width)
    match architecture.activation:
        case "silu":
            active_BTF = graph.add(
                "QuickGelu", [gate_BTF], f"{name}.active", domain=FUSED, alpha=1.0
            )
        case "gelu_tanh":
            active_BTF = graph.add("Gelu", [gate_BTF], f"{name}.active", approximate="tanh")
        case _:
            assert_never(architecture.activation)
    product_BTF = graph.add("Mul", [active_BTF, up_BTF], f"{name}.product")
    return graph.linear(product_BTF, f"{name}.down_proj", rows=width, columns=feed_forward_width)


def mixer_block(
    graph: GraphWriter,
    x_BTD: str,
    name: str,
    mixer: Mixer,
    architecture: Architecture,
    context_length: int,
) -> str:
    """Add a mixer of any kind and return the name of its output value, (B, T, D)."""
    match mixer:
        case ShortConv():
            return short_conv(graph, x_BTD, name, mixer, architecture.width)
        case Attention():
            return attention(graph, x_BTD, name, mixer, architecture, context_length)
        case LinearAttention():
            return linear_attention(graph, x_BTD, name, mixer, architecture)
        case _:
            assert_never(mixer)


def _split(graph: GraphWriter, x_BTX: str, name: str, widths: Mapping[str, int]) -> list[str]:
    """Split the last axis into parts of the given widths, named `name.part`."""
    sizes_name = "widths_" + "_".join(map(str, widths.values()))
    sizes = graph.constant(sizes_name, np.array(list(widths.values()), dtype=np.int64))
    parts = [f"{name}.{part}" for part in widths]
    graph.add("Split", [x_BTX, sizes], f"{name}.split", outputs=parts, axis=-1)
    return parts


def _reshape(graph: GraphWriter, x: str, name: str, shape: tuple[int, ...]) -> str:
    """Reshape to `shape`, in which 0 keeps the size of that axis."""
    shape_name = "shape_" + "_".join(map(str, shape))
    constant = graph.constant(shape_name, np.array(shape, dtype=np.int64))
    return graph.add("Reshape", [x, constant], name)


def _rotary_constants(graph: GraphWriter, mixer: Attention, length: int) -> list[str]:
    """Return cosines and sines, (T, R) each; layers with equal rotation share them."""
    kind = f"{mixer.head_dim}_{mixer.rope_base}_{mixer.rope_share}"
    table = rotary_table(mixer, length)
    return [
        graph.constant(f"cos_{kind}", table.cos_TR),
        graph.constant(f"sin_{kind}", table.sin_TR),
    ]
