import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given

from search_space import architecture as architecture_module
from search_space.architecture import (
    MIXERS,
    Architecture,
    Attention,
    Layer,
    LayoutLetter,
    LinearAttention,
    ShortConv,
    architecture_hash,
    layout_letter,
    to_json,
)
from search_space.preset_models import PRESETS, preset
from search_space.strict import parse_json
from tests.search_space.strategies import CORNERS, architectures

GOLDEN = Path(__file__).with_name("preset_hashes.txt")
ROOT = Path(__file__).parents[2]

SMALL = Architecture(
    vocab_size=512,
    width=64,
    embedding_width=64,
    layers=(Layer(mixer=None, feed_forward_width=128),),
)
ATTENTION = Attention(heads=4, kv_heads=2, head_dim=16)

EVERY_OPTION = Architecture(
    vocab_size=512,
    width=64,
    embedding_width=32,
    layers=(
        Layer(mixer=ShortConv(kernel=3), feed_forward_width=128),
        Layer(
            mixer=Attention(
                heads=4,
                kv_heads=2,
                head_dim=16,
                window=8,
                qk_norm=False,
                head_gate=True,
                qkv_bias=True,
                rope_base=10_000.0,
                rope_share=0.5,
            ),
            feed_forward_width=96,
        ),
        Layer(mixer=LinearAttention(heads=2, key_dim=8, value_dim=16), feed_forward_width=1),
        Layer(mixer=None, feed_forward_width=1),
    ),
    tied_head=False,
    sandwich_norm=True,
    activation="gelu_tanh",
    norm_eps=1e-6,
    embedding_multiplier=8.0,
)
EVERY_OPTION_TEXT = (
    '{"activation":"gelu_tanh","embedding_multiplier":8.0,"embedding_width":32,"layers":['
    '{"feed_forward_width":128,"mixer":{"kernel":3,"kind":"short_conv"}},'
    '{"feed_forward_width":96,"mixer":{"head_dim":16,"head_gate":true,"heads":4,'
    '"kind":"attention","kv_heads":2,"qk_norm":false,"qkv_bias":true,"rope_base":10000.0,'
    '"rope_share":0.5,"window":8}},'
    '{"feed_forward_width":1,"mixer":{"heads":2,"key_dim":8,"kind":"linear_attention",'
    '"value_dim":16}},'
    '{"feed_forward_width":1,"mixer":null}],'
    '"norm_eps":1e-06,"sandwich_norm":true,"tied_head":false,"vocab_size":512,"width":64}'
)


def test_hashes_of_presets_never_change():
    # Results are stored under these hashes: if one changes, databases no longer find its results.
    lines = [
        f"{architecture_hash(architecture)} {architecture.layout:32} {name}"
        for name, architecture in PRESETS.items()
    ]
    assert lines == GOLDEN.read_text().splitlines()


def test_the_canonical_text_of_every_option_never_changes():
    assert to_json(EVERY_OPTION) == EVERY_OPTION_TEXT
    assert architecture_hash(EVERY_OPTION) == "99e70847653f41ac"
    assert EVERY_OPTION.layout == "csl-"


def test_options_with_their_default_value_are_omitted():
    assert to_json(replace(SMALL, layers=(Layer(mixer=ATTENTION, feed_forward_width=1),))) == (
        '{"embedding_width":64,"layers":[{"feed_forward_width":1,"mixer":{"head_dim":16,"heads":4,'
        '"kind":"attention","kv_heads":2}}],"vocab_size":512,"width":64}'
    )


@given(architecture=architectures())
def test_reading_the_json_returns_the_same_architecture(architecture):
    assert parse_json(Architecture, to_json(architecture), "text") == architecture
    assert parse_json(Architecture, to_json(architecture, indent=2), "text") == architecture


@given(one=architectures(most_layers=1), other=architectures(most_layers=1))
def test_texts_are_equal_if_and_only_if_the_architectures_are(one, other):
    assert (to_json(one) == to_json(other)) == (one == other)


def test_equal_numbers_have_the_same_text():
    whole = replace(SMALL, embedding_multiplier=8)
    assert whole == replace(SMALL, embedding_multiplier=8.0)
    assert architecture_hash(whole) == architecture_hash(replace(SMALL, embedding_multiplier=8.0))
    still, turned = replace(ATTENTION, rope_share=0.0), replace(ATTENTION, rope_share=-0.0)
    assert still == turned
    layer = Layer(mixer=still, feed_forward_width=1)
    assert to_json(replace(SMALL, layers=(layer,))) == to_json(
        replace(SMALL, layers=(replace(layer, mixer=turned),))
    )


def test_indented_text_contains_the_same_data():
    assert json.loads(to_json(EVERY_OPTION, indent=2)) == json.loads(EVERY_OPTION_TEXT)


@pytest.mark.parametrize(
    ("mixer", "letter"),
    [
        (ShortConv(kernel=1), "c"),
        (ATTENTION, "a"),
        (replace(ATTENTION, window=1), "s"),
        (LinearAttention(heads=1, key_dim=1, value_dim=1), "l"),
        (None, "-"),
    ],
)
def test_every_mixer_has_its_letter(mixer, letter):
    assert layout_letter(mixer) == letter


def test_the_table_lists_the_letters_in_the_order_of_their_type():
    assert tuple(MIXERS) == get_args(LayoutLetter)


def test_the_corner_cases_contain_every_mixer():
    assert set(CORNERS["every mixer"].layout) == set(MIXERS)


@pytest.mark.parametrize("file", ["README.md", "studies/presets/quickstart.toml"])
def test_the_documents_explain_every_letter(file):
    text = (ROOT / file).read_text()
    for letter, kind in MIXERS.items():
        assert re.search(rf'["`]{letter}["`] {kind.name}\b', text), f"{letter} {kind.name}"


def test_colours_are_distinct_and_readable():
    for colours in ("colour", "line_colour"):
        assert len({getattr(kind, colours) for kind in MIXERS.values()}) == len(MIXERS)
    for kind in MIXERS.values():
        # Contrast ratios as in WCAG 2.2, which requires 4.5 for text. The lightest line colour,
        # that of `-`, has a ratio of 2.17.
        assert (luminance(kind.colour) + 0.05) / 0.05 >= 4.5, "black text"
        assert 1.05 / (luminance(kind.line_colour) + 0.05) >= 2.1, "a white background"


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour such as `#56b4e9` (WCAG 2.2)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_an_integer_without_a_limit_is_a_mistake():
    @dataclass(frozen=True)
    class Unlimited:
        taps: int

    with pytest.raises(AssertionError, match=r"^Unlimited\.taps has no entry in _LIMITS"):
        architecture_module._check_limits(Unlimited(taps=3))


@pytest.mark.parametrize(
    ("facts", "field", "value", "expected"),
    [
        (SMALL, "vocab_size", 0, "vocab_size: 0 is not between 1 and 1,048,576"),
        (SMALL, "vocab_size", 2**20 + 1, "vocab_size: 1048577 is not between 1 and 1,048,576"),
        (SMALL, "width", -1, "width: -1 is not between 1 and 65,536"),
        (SMALL, "width", 32, "embedding_width: 64 is greater than the width, 32"),
        (SMALL, "embedding_width", 0, "embedding_width: 0 is not between 1 and 65,536"),
        (SMALL, "embedding_width", 65, "embedding_width: 65 is greater than the width, 64"),
        (SMALL, "layers", (), "layers: a count of 0 is not between 1 and 256"),
        (SMALL, "layers", SMALL.layers * 257, "layers: a count of 257 is not between 1 and 256"),
        (SMALL, "norm_eps", 0.0, "norm_eps: 0.0 is not above 0 and at most 0.1"),
        (SMALL, "norm_eps", 0.2, "norm_eps: 0.2 is not above 0 and at most 0.1"),
        (SMALL, "norm_eps", float("nan"), "norm_eps: nan is not above 0 and at most 0.1"),
        (
            SMALL,
            "embedding_multiplier",
            0.0,
            "embedding_multiplier: 0.0 is not above 0 and at most 1e4",
        ),
        (
            SMALL,
            "embedding_multiplier",
            float("inf"),
            "embedding_multiplier: inf is not above 0 and at most 1e4",
        ),
        (
            SMALL.layers[0],
            "feed_forward_width",
            0,
            "feed_forward_width: 0 is not between 1 and 262,144",
        ),
        (ShortConv(kernel=3), "kernel", 0, "kernel: 0 is not between 1 and 256"),
        (ShortConv(kernel=3), "kernel", 257, "kernel: 257 is not between 1 and 256"),
        (ATTENTION, "heads", 1025, "heads: 1025 is not between 1 and 1,024"),
        (ATTENTION, "kv_heads", 0, "kv_heads: 0 is not between 1 and 1,024"),
        (ATTENTION, "kv_heads", 3, "kv_heads: 3 does not divide heads = 4"),
        (ATTENTION, "kv_heads", 8, "kv_heads: 8 does not divide heads = 4"),
        (ATTENTION, "head_dim", 1026, "head_dim: 1026 is not between 1 and 1,024"),
        (ATTENTION, "head_dim", 15, "head_dim: 15 is not even, as rotary positions require"),
        (ATTENTION, "window", 0, "window: 0 is not between 1 and 1,048,576"),
        (ATTENTION, "rope_base", 1.0, "rope_base: 1.0 is not above 1 and at most 1e9"),
        (ATTENTION, "rope_base", 2e9, "rope_base: 2000000000.0 is not above 1 and at most 1e9"),
        (ATTENTION, "rope_share", -0.5, "rope_share: -0.5 is not between 0 and 1"),
        (ATTENTION, "rope_share", 1.5, "rope_share: 1.5 is not between 0 and 1"),
        (
            ATTENTION,
            "rope_share",
            0.3,
            "rope_share: 0.3 of head_dim = 16 is not a whole number of pairs",
        ),
        (
            LinearAttention(heads=1, key_dim=1, value_dim=1),
            "key_dim",
            0,
            "key_dim: 0 is not between 1 and 1,024",
        ),
        (
            LinearAttention(heads=1, key_dim=1, value_dim=1),
            "value_dim",
            1025,
            "value_dim: 1025 is not between 1 and 1,024",
        ),
    ],
)
def test_an_invalid_value_raises_one_sentence_about_its_field(facts, field, value, expected):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared whole
        replace(facts, **{field: value})
    assert str(caught.value) == expected


def test_a_fraction_of_pairs_need_not_be_exact_in_binary():
    for pairs in range(1, 513):
        for turning in (1, pairs // 3, pairs - 1):
            Attention(heads=1, kv_heads=1, head_dim=2 * pairs, rope_share=turning / pairs)


def test_an_unknown_preset_raises_an_error_that_lists_the_presets():
    with pytest.raises(ValueError, match=r"^preset: 'lfm9' is not one of lfm2\.5-230m, lfm2-350m"):
        preset("lfm9")
