"""Closed-form costs of an Architecture: parameters, FLOPs, and bytes of weights and of state.

Nothing here builds a tensor. A multiply-add counts as two FLOPs.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from search_space.architecture import (
    Architecture,
    Attention,
    Layer,
    LinearAttention,
    Mixer,
    ShortConv,
)
from search_space.quantization import Quantization, matrix_bytes, vector_bytes

_WeightGroup: TypeAlias = Literal["embedding", "mixers", "feed_forward", "norms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCounts:
    """Parameters of the parts of a model.

    Attributes:
        embedding: Parameters of the embedding, of the projections of a factorised embedding, and of
            the head. A tied head adds none.
        mixers: Parameters of the mixers, without the norms inside them.
        feed_forward: Parameters of the feed-forwards.
        norms: Parameters of all norms, including those inside mixers.
    """

    embedding: int
    mixers: int
    feed_forward: int
    norms: int

    @property
    def total(self) -> int:
        """Parameters of the whole model."""
        return self.embedding + self.mixers + self.feed_forward + self.norms

    @property
    def embedding_share(self) -> float:
        """Fraction of all parameters that are in the embedding and the head."""
        return self.embedding / self.total


def parameter_counts(architecture: Architecture) -> ParameterCounts:
    """Count the parameters of an architecture, exactly."""
    counts: dict[_WeightGroup, int] = {"embedding": 0, "mixers": 0, "feed_forward": 0, "norms": 0}
    for weight in _weights_outside_layers(architecture):
        counts[weight.group] += weight.rows * weight.columns
    for layer in architecture.layers:
        for group, count in _layer_parameters(layer, *_shared(architecture)):
            counts[group] += count
    return ParameterCounts(**counts)


def weight_bytes(architecture: Architecture, quantization: Quantization) -> int:
    """Return the bytes of all weights in a model file, including the scales of quantised blocks.

    A quantised model keeps its norms, biases and convolution kernels in fp32.
    """
    outside = sum(_bytes(weight, quantization) for weight in _weights_outside_layers(architecture))
    return outside + sum(
        _layer_bytes(layer, *_shared(architecture), quantization) for layer in architecture.layers
    )


def state_bytes(architecture: Architecture, depth: int) -> int:
    """Return the bytes of one sequence's decoding state after `depth` tokens.

    The state consists of key/value caches, the last inputs of convolutions and the matrices of
    linear attention, all in fp32.
    """
    return 4 * sum(
        _state_elements(layer.mixer, architecture, depth) for layer in architecture.layers
    )


def decode_flops(architecture: Architecture, depth: int) -> int:
    """Return the FLOPs of decoding one token at a context depth of `depth` tokens."""
    return prefill_flops(architecture, 1, depth)


def prefill_flops(architecture: Architecture, tokens: int, depth: int = 0) -> int:
    """Return the FLOPs of reading a prompt.

    Args:
        architecture: The model.
        tokens: Tokens in the prompt. The head is applied to the last of them only.
        depth: Tokens that precede the prompt.
    """
    head = architecture.vocab_size * architecture.embedding_width
    if architecture.factorised:
        head += architecture.width * architecture.embedding_width
    return (
        2 * tokens * _matrix_multiplies(architecture)
        + 2 * head
        + sum(
            _mixing_flops(layer.mixer, architecture, start=depth, tokens=tokens)
            for layer in architecture.layers
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCosts:
    """Costs of one layer.

    Attributes:
        mixer_bytes: Bytes of the mixer's weight matrices.
        feed_forward_bytes: Bytes of the feed-forward's weight matrices.
        state_bytes: Bytes of one sequence's decoding state.
        mixing_flops: FLOPs of the operations between tokens, without the projections.
    """

    mixer_bytes: int
    feed_forward_bytes: int
    state_bytes: int
    mixing_flops: int


def layer_costs(
    layer: Layer, architecture: Architecture, quantization: Quantization, *, depth: int, tokens: int
) -> LayerCosts:
    """Return the costs of a layer when the model reads a prompt.

    Args:
        layer: The layer.
        architecture: The model that contains the layer.
        quantization: How weight matrices are stored.
        depth: Tokens that precede the prompt.
        tokens: Tokens in the prompt. `state_bytes` counts the state after the last of them.
    """
    mixer, feed_forward = _layer_matrix_bytes(layer, *_shared(architecture), quantization)
    return LayerCosts(
        mixer_bytes=mixer,
        feed_forward_bytes=feed_forward,
        state_bytes=4 * _state_elements(layer.mixer, architecture, depth + tokens),
        mixing_flops=_mixing_flops(layer.mixer, architecture, start=depth, tokens=tokens),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weight:
    """A tensor with `rows` outputs and `columns` inputs; vectors are never quantised."""

    group: _WeightGroup
    rows: int
    columns: int = 1
    is_vector: bool = False


def _bytes(weight: _Weight, quantization: Quantization) -> int:
    if weight.is_vector:
        return vector_bytes(weight.rows * weight.columns, quantization)
    return matrix_bytes(weight.rows, weight.columns, quantization)


def _weights_outside_layers(architecture: Architecture) -> Iterator[_Weight]:
    width, narrow = architecture.width, architecture.embedding_width
    yield _Weight(group="embedding", rows=architecture.vocab_size, columns=narrow)
    if architecture.factorised:
        yield _Weight(group="embedding", rows=width, columns=narrow)
        yield _Weight(group="embedding", rows=narrow, columns=width)
    if not architecture.tied_head:
        yield _Weight(group="embedding", rows=architecture.vocab_size, columns=narrow)
    yield _Weight(group="norms", rows=width, is_vector=True)


def _shared(architecture: Architecture) -> tuple[int, bool]:
    """Return what the weights of a layer depend on, apart from the layer itself."""
    return architecture.width, architecture.sandwich_norm


# A search computes the costs of many architectures that consist of few different layers.
_cached = functools.lru_cache(maxsize=10_000)


@_cached
def _layer_parameters(
    layer: Layer, width: int, sandwich_norm: bool
) -> tuple[tuple[_WeightGroup, int], ...]:
    return tuple(
        (weight.group, weight.rows * weight.columns)
        for weight in _layer_weights(layer, width, sandwich_norm)
    )


@_cached
def _layer_bytes(layer: Layer, width: int, sandwich_norm: bool, quantization: Quantization) -> int:
    return sum(
        _bytes(weight, quantization) for weight in _layer_weights(layer, width, sandwich_norm)
    )


@_cached
def _layer_matrix_bytes(
    layer: Layer, width: int, sandwich_norm: bool, quantization: Quantization
) -> tuple[int, int]:
    """Return the bytes of the mixer's and of the feed-forward's matrices."""
    matrices = [
        weight for weight in _layer_weights(layer, width, sandwich_norm) if not weight.is_vector
    ]
    mixer, feed_forward = (
        sum(_bytes(weight, quantization) for weight in matrices if weight.group == group)
        for group in ("mixers", "feed_forward")
    )
    return mixer, feed_forward


def _layer_weights(layer: Layer, width: int, sandwich_norm: bool) -> Iterator[_Weight]:
    hidden = layer.feed_forward_width
    norms = (1 if layer.mixer is None else 2) * (2 if sandwich_norm else 1)
    yield _Weight(group="norms", rows=norms * width, is_vector=True)
    if layer.mixer is not None:
        yield from _mixer_weights(layer.mixer, width)
    yield _Weight(group="feed_forward", rows=hidden, columns=width)
    yield _Weight(group="feed_forward", rows=hidden, columns=width)
    yield _Weight(group="feed_forward", rows=width, columns=hidden)


def state_grows(mixer: Mixer | None) -> bool:
    """Return whether the state of a mixer grows with every token that it reads."""
    match mixer:
        case Attention(window=window):
            return window is None
        case None | ShortConv() | LinearAttention():
            return False
        case _:
            assert_never(mixer)


def _mixer_weights(mixer: Mixer, width: int) -> Iterator[_Weight]:
    match mixer:
        case ShortConv(kernel=kernel):
            yield _Weight(group="mixers", rows=3 * width, columns=width)
            yield _Weight(group="mixers", rows=width * kernel, is_vector=True)
            yield _Weight(group="mixers", rows=width, columns=width)
        case Attention():
            heads_width = mixer.heads * mixer.head_dim
            kv_width = mixer.kv_heads * mixer.head_dim
            for rows in (heads_width, kv_width, kv_width):
                yield _Weight(group="mixers", rows=rows, columns=width)
            if mixer.qkv_bias:
                yield _Weight(group="mixers", rows=heads_width + 2 * kv_width, is_vector=True)
            if mixer.qk_norm:
                yield _Weight(group="norms", rows=2 * mixer.head_dim, is_vector=True)
            if mixer.head_gate:
                yield _Weight(group="mixers", rows=mixer.heads, columns=width)
            yield _Weight(group="mixers", rows=width, columns=heads_width)
        case LinearAttention():
            keys_width = mixer.heads * mixer.key_dim
            values_width = mixer.heads * mixer.value_dim
            for rows in (keys_width, keys_width, values_width, mixer.heads, values_width):
                yield _Weight(group="mixers", rows=rows, columns=width)
            yield _Weight(group="mixers", rows=mixer.heads, is_vector=True)
            yield _Weight(group="norms", rows=mixer.value_dim, is_vector=True)
            yield _Weight(group="mixers", rows=width, columns=values_width)
        case _:
            assert_never(mixer)


def _matrix_multiplies(architecture: Architecture) -> int:
    """Count the multiply-adds per token before the head; an embedding lookup needs none."""
    layers = sum(
        weight.rows * weight.columns
        for layer in architecture.layers
        for weight in _layer_weights(layer, *_shared(architecture))
        if not weight.is_vector
    )
    if not architecture.factorised:
        return layers
    return layers + architecture.width * architecture.embedding_width


def _mixing_flops(mixer: Mixer | None, architecture: Architecture, start: int, tokens: int) -> int:
    """Return the FLOPs of the operations between tokens, without the projections."""
    match mixer:
        case None:
            return 0
        case ShortConv(kernel=kernel):
            return 2 * tokens * architecture.width * (kernel + 1)
        case Attention():
            seen = _tokens_seen(mixer.window, start, tokens)
            return 4 * mixer.heads * mixer.head_dim * seen
        case LinearAttention():
            # Decay, outer product and read-out of each head's state of shape (key, value).
            return 5 * tokens * mixer.heads * mixer.key_dim * mixer.value_dim
        case _:
            assert_never(mixer)


def _tokens_seen(window: int | None, start: int, tokens: int) -> int:
    """Sum the number of tokens that each position from `start` attends to, itself included."""
    end = start + tokens
    if window is None:
        return (end * (end + 1) - start * (start + 1)) // 2

    def clipped(length: int) -> int:
        ramp = min(length, window)
        return ramp * (ramp + 1) // 2 + (length - ramp) * window

    return clipped(end) - clipped(start)


def _state_elements(mixer: Mixer | None, architecture: Architecture, depth: int) -> int:
    match mixer:
        case None:
            return 0
        case ShortConv(kernel=kernel):
            return architecture.width * (kernel - 1)
        case Attention():
            rows = depth if mixer.window is None else min(depth, mixer.window)
            return 2 * rows * mixer.kv_heads * mixer.head_dim
        case LinearAttention():
            return mixer.heads * mixer.key_dim * mixer.value_dim
        case _:
            assert_never(mixer)
