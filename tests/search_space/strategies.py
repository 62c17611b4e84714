"""Architectures for tests: random ones, and corner cases by name."""

from dataclasses import fields, replace
from typing import get_args

from hypothesis import strategies as st

from search_space.architecture import (
    Architecture,
    Attention,
    Layer,
    LinearAttention,
    Mixer,
    ShortConv,
)

# The names of the mixers in files.
KINDS: tuple[str, ...] = tuple(
    field.default for mixer in get_args(Mixer) for field in fields(mixer) if field.name == "kind"
)
CONV = ShortConv(kernel=3)
ATTENTION = Attention(heads=4, kv_heads=2, head_dim=16)
WINDOW = replace(ATTENTION, window=4, rope_base=1e4)
LINEAR = LinearAttention(heads=2, key_dim=8, value_dim=16)


def stack(*mixers: Mixer | None, **options: object) -> Architecture:
    """Return a small model with these mixers, one per layer."""
    layers = tuple(Layer(mixer=mixer, feed_forward_width=48) for mixer in mixers)
    small = Architecture(vocab_size=64, width=32, embedding_width=32, layers=layers)
    return replace(small, **options)


CORNERS: dict[str, Architecture] = {
    "every mixer": stack(CONV, ATTENTION, None, LINEAR, WINDOW),
    "no attention": stack(CONV, CONV, LINEAR),
    "only attention": stack(ATTENTION, ATTENTION, ATTENTION),
    "only windows": stack(WINDOW, WINDOW),
    "only linear": stack(LINEAR, LINEAR),
    "one layer": stack(CONV),
    "no mixer at all": stack(None, None),
    "kernel 1": stack(ShortConv(kernel=1), ATTENTION),
    "kernel 1 alone": stack(ShortConv(kernel=1)),
    "kernel above any prompt": stack(ShortConv(kernel=40)),
    "window 1": stack(replace(WINDOW, window=1)),
    "window 2": stack(replace(WINDOW, window=2), replace(WINDOW, window=3)),
    "window above any context": stack(replace(WINDOW, window=1_000_000)),
    "one head": stack(replace(ATTENTION, heads=1, kv_heads=1)),
    "a key head for each head": stack(replace(ATTENTION, kv_heads=4)),
    "one key head": stack(replace(ATTENTION, kv_heads=1)),
    "heads wider than the model": stack(replace(ATTENTION, head_dim=48)),
    "no head norm": stack(replace(ATTENTION, qk_norm=False), replace(WINDOW, qk_norm=False)),
    "biases": stack(
        replace(ATTENTION, qkv_bias=True), replace(ATTENTION, qkv_bias=True, qk_norm=False)
    ),
    "head gates": stack(replace(ATTENTION, head_gate=True), replace(WINDOW, head_gate=True)),
    "half of a head rotates": stack(replace(ATTENTION, rope_share=0.5), WINDOW),
    "nothing rotates": stack(
        replace(ATTENTION, rope_share=0.0), replace(WINDOW, rope_share=0.0, head_dim=8)
    ),
    "keys wider than values": stack(LinearAttention(heads=3, key_dim=7, value_dim=5)),
    "memories of one row": stack(LinearAttention(heads=1, key_dim=1, value_dim=8)),
    "factorised": stack(CONV, ATTENTION, embedding_width=16),
    "untied": stack(CONV, ATTENTION, tied_head=False),
    "factorised and untied": stack(CONV, embedding_width=16, tied_head=False),
    "sandwich norms": stack(CONV, None, ATTENTION, LINEAR, sandwich_norm=True),
    "multiplied embedding": stack(CONV, embedding_multiplier=5.5),
    "multiplied factorised embedding": stack(CONV, embedding_width=16, embedding_multiplier=0.25),
    "gelu": stack(CONV, ATTENTION, activation="gelu_tanh"),
    "large epsilon": stack(CONV, ATTENTION, LINEAR, norm_eps=0.1, sandwich_norm=True),
    "odd sizes": stack(CONV, ATTENTION, LINEAR, vocab_size=11, width=7, embedding_width=5),
}


@st.composite
def attentions(draw: st.DrawFn, head_dims: st.SearchStrategy[int]) -> Attention:
    kv_heads, head_dim = draw(st.integers(1, 3)), draw(head_dims)
    pairs = head_dim // 2
    return Attention(
        heads=kv_heads * draw(st.integers(1, 3)),
        kv_heads=kv_heads,
        head_dim=head_dim,
        window=draw(st.none() | st.integers(1, 20)),
        qk_norm=draw(st.booleans()),
        head_gate=draw(st.booleans()),
        qkv_bias=draw(st.booleans()),
        rope_base=draw(st.sampled_from([1e4, 1e6]) | st.floats(1.5, 1e9)),
        rope_share=draw(st.just(1.0) | st.integers(0, pairs).map(lambda turning: turning / pairs)),
    )


@st.composite
def architectures(
    draw: st.DrawFn,
    *,
    widths: st.SearchStrategy[int] = st.integers(1, 20),  # noqa: B008 - a strategy is a constant
    head_dims: st.SearchStrategy[int] = st.integers(1, 5).map(lambda pairs: 2 * pairs),  # noqa: B008
    most_layers: int = 4,
) -> Architecture:
    """Draw any combination of mixers and options, with small sizes."""
    sizes = st.integers(1, 9)
    by_class = {
        ShortConv: st.builds(ShortConv, kernel=sizes),
        Attention: attentions(head_dims),
        LinearAttention: st.builds(LinearAttention, heads=sizes, key_dim=sizes, value_dim=sizes),
    }
    # A class of `Mixer` without a strategy is a KeyError.
    mixers = st.none() | st.one_of([by_class[kind] for kind in get_args(Mixer)])
    layers = st.builds(Layer, mixer=mixers, feed_forward_width=st.integers(1, 40))
    one, another = draw(widths), draw(widths)
    return Architecture(
        vocab_size=draw(st.integers(2, 50)),
        width=max(one, another),
        embedding_width=min(one, another),
        layers=tuple(draw(st.lists(layers, min_size=1, max_size=most_layers))),
        tied_head=draw(st.booleans()),
        sandwich_norm=draw(st.booleans()),
        activation=draw(st.sampled_from(["silu", "gelu_tanh"])),
        norm_eps=draw(st.just(1e-5) | st.floats(1e-6, 0.1)),
        embedding_multiplier=draw(st.just(1.0) | st.floats(0.1, 30.0)),
    )


# Architectures that every quantisation and onnxruntime's attention support.
deployable_architectures = architectures(
    widths=st.sampled_from([32, 64, 96]), head_dims=st.sampled_from([16, 32])
)
