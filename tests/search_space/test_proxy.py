"""A proxy is valid, keeps the choices of a search, and grows with the architecture."""

import json
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search_space.architecture import (
    Architecture,
    Attention,
    Layer,
    LinearAttention,
    Mixer,
    ShortConv,
    to_json,
)
from search_space.costs import parameter_counts
from search_space.preset_models import PRESETS
from search_space.proxy import proxy_of
from tests.search_space.strategies import CORNERS, architectures

SHARES = st.floats(0.001, 1.0)


@st.composite
def full_size(draw: st.DrawFn) -> Architecture:
    """Draw an architecture as a search proposes it: 256 to 4,096 channels and any mixers."""
    width = 64 * draw(st.integers(4, 64))
    head_dim = draw(st.sampled_from([32, 64, 128]))
    kv_heads, group = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    attention = Attention(heads=kv_heads * group, kv_heads=kv_heads, head_dim=head_dim)
    mixers: list[Mixer | None] = [
        None,
        ShortConv(kernel=draw(st.integers(1, 9))),
        attention,
        replace(attention, window=draw(st.integers(1, 4_096))),
        LinearAttention(
            heads=draw(st.integers(1, 32)),
            key_dim=draw(st.sampled_from([16, 64, 128])),
            value_dim=draw(st.sampled_from([16, 64, 128])),
        ),
    ]
    layer = st.builds(
        Layer, mixer=st.sampled_from(mixers), feed_forward_width=st.integers(1, 4 * width)
    )
    return Architecture(
        vocab_size=draw(st.integers(1, 300_000)),
        width=width,
        embedding_width=draw(st.sampled_from([width, width // 2, width // 4])),
        layers=tuple(draw(st.lists(layer, min_size=1, max_size=12))),
    )


def attention_of(architecture: Architecture) -> Attention:
    return next(m for layer in architecture.layers if isinstance(m := layer.mixer, Attention))


@given(
    full_size() | architectures() | st.sampled_from([*PRESETS.values(), *CORNERS.values()]),
    SHARES,
    SHARES,
)
def test_layout_depth_and_most_options_are_kept(
    architecture: Architecture, width_share: float, window_share: float
) -> None:
    proxy = proxy_of(architecture, width_share, window_share)
    assert proxy.layout == architecture.layout
    assert proxy.factorised == architecture.factorised
    assert proxy.width % 16 == 0
    assert 512 <= proxy.vocab_size <= 4_096
    for option in ("tied_head", "sandwich_norm", "activation", "norm_eps"):
        assert getattr(proxy, option) == getattr(architecture, option)
    for layer, narrow in zip(architecture.layers, proxy.layers, strict=True):
        assert narrow.feed_forward_width % 16 == 0
        if isinstance(layer.mixer, ShortConv):
            assert narrow.mixer == layer.mixer
        if isinstance(layer.mixer, Attention):
            assert isinstance(narrow.mixer, Attention)
            assert narrow.mixer.head_dim == 16
            assert (narrow.mixer.rope_share > 0) == (layer.mixer.rope_share > 0)
            for option in ("qk_norm", "head_gate", "qkv_bias", "rope_base"):
                assert getattr(narrow.mixer, option) == getattr(layer.mixer, option)


@given(full_size(), SHARES, SHARES)
def test_a_larger_width_share_never_gives_a_smaller_proxy(
    architecture: Architecture, one: float, other: float
) -> None:
    smaller = parameter_counts(proxy_of(architecture, min(one, other)))
    larger = parameter_counts(proxy_of(architecture, max(one, other)))
    assert smaller.total <= larger.total
    assert smaller.mixers <= larger.mixers


@given(full_size(), SHARES, st.integers(1, 4_096))
def test_a_wider_feed_forward_never_gives_a_smaller_proxy(
    architecture: Architecture, share: float, more: int
) -> None:
    first, *others = architecture.layers
    wider = replace(first, feed_forward_width=first.feed_forward_width + more)
    assume(wider.feed_forward_width < 100_000)
    assert (
        parameter_counts(proxy_of(architecture, share)).total
        <= parameter_counts(proxy_of(replace(architecture, layers=(wider, *others)), share)).total
    )


@pytest.mark.parametrize("width", [512, 768, 1_024, 1_536, 2_048])
def test_fewer_key_value_heads_give_a_smaller_proxy(width: int) -> None:
    heads = width // 64
    divisors = [kv_heads for kv_heads in range(1, heads + 1) if heads % kv_heads == 0]
    totals = [
        parameter_counts(
            proxy_of(
                Architecture(
                    vocab_size=65_536,
                    width=width,
                    embedding_width=width,
                    layers=(
                        Layer(
                            mixer=Attention(heads=heads, kv_heads=kv_heads, head_dim=64),
                            feed_forward_width=4 * width,
                        ),
                    ),
                ),
                0.125,
            )
        ).total
        for kv_heads in divisors
    ]
    assert totals == sorted(totals)


def test_the_group_sizes_of_published_models_are_kept() -> None:
    groups = {
        name: (narrow.heads, narrow.kv_heads, wide.heads // wide.kv_heads)
        for name, architecture in PRESETS.items()
        if "a" in architecture.layout
        for wide, narrow in [
            (attention_of(architecture), attention_of(proxy_of(architecture, 0.125)))
        ]
    }
    assert {heads // kv_heads == group for heads, kv_heads, group in groups.values()} == {True}


def test_windows_cover_the_same_fraction_of_the_context() -> None:
    gemma = proxy_of(PRESETS["gemma-3-270m"], 0.125, window_share=256 / 4_096)
    windows = {layer.mixer.window for layer in gemma.layers if isinstance(layer.mixer, Attention)}
    assert windows == {None, 512 * 256 // 4_096}


def test_keys_and_values_of_linear_attention_keep_their_ratio() -> None:
    mixer = LinearAttention(heads=4, key_dim=128, value_dim=256)
    wide = Architecture(
        vocab_size=65_536,
        width=1_024,
        embedding_width=1_024,
        layers=(Layer(mixer=mixer, feed_forward_width=2_048),),
    )
    assert proxy_of(wide, 0.125).layers[0].mixer == LinearAttention(
        heads=4, key_dim=16, value_dim=32
    )


def test_a_complete_proxy() -> None:
    layers = PRESETS["lfm3-1.7b"].layers[:5]
    proxy = proxy_of(replace(PRESETS["lfm3-1.7b"], layers=layers), 0.0625, window_share=0.25)
    conv = {"feed_forward_width": 480, "mixer": {"kernel": 7, "kind": "short_conv"}}
    assert json.loads(to_json(proxy)) == {
        "vocab_size": 4_096,
        "width": 128,
        "embedding_width": 128,
        "sandwich_norm": True,
        "layers": [
            conv,
            conv,
            {
                "feed_forward_width": 480,
                "mixer": {
                    "kind": "attention",
                    "heads": 8,
                    "kv_heads": 2,
                    "head_dim": 16,
                    "head_gate": True,
                    "rope_share": 0.5,
                },
            },
            conv,
            {
                "feed_forward_width": 480,
                "mixer": {
                    "kind": "attention",
                    "heads": 8,
                    "kv_heads": 2,
                    "head_dim": 16,
                    "head_gate": True,
                    "rope_base": 1e4,
                    "window": 64,
                },
            },
        ],
    }


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_out_of_range_is_an_error(share: float) -> None:
    with pytest.raises(ValueError, match=r"^width_share: .* is not above 0 and at most 1$"):
        proxy_of(PRESETS["lfm2-350m"], share)
    with pytest.raises(ValueError, match=r"^window_share: .* is not above 0 and at most 1$"):
        proxy_of(PRESETS["lfm2-350m"], 0.125, share)
