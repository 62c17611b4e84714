import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_space.architecture import Attention, LinearAttention, ShortConv
from search_space.costs import parameter_counts, weight_bytes
from search_space.points import Point, build
from search_space.presets import PRESETS
from search_space.rules import Rules, check_layout
from search_space.space import (
    Space,
    broken_rule,
    check_weight_rule,
    parameter_range,
    space_size,
    weight_range,
)


def architectures(space: Space):
    """All that the space describes, by trying every value of every choice."""
    choices = [
        (space.width, space.feed_forward, space.vocab_size, space.kernel),
        (space.head_dim, space.kv_heads, space.window, space.embedding_share),
    ]
    for depth in space.depth:
        for letters in itertools.product(space.mixers, repeat=depth):
            layout = "".join(letters)
            if any(check.excess > 0 for check in check_layout(layout, space.rules)):
                continue
            for width, feed_forward, vocab_size, kernel, *rest in itertools.product(
                *choices[0], *choices[1]
            ):
                head_dim, kv_heads, window, share = rest
                yield build(
                    Point(
                        layout=layout,
                        width=width,
                        feed_forward=feed_forward,
                        vocab_size=vocab_size,
                        kernel=kernel,
                        head_dim=head_dim,
                        kv_heads=kv_heads,
                        window=window,
                        embedding_share=share,
                    )
                )


@st.composite
def spaces(draw):
    mixers = draw(st.lists(st.sampled_from("cas-l"), min_size=1, max_size=3, unique=True))
    runs = [None, 1] if set(mixers) & set("as") else [None, 2]
    return Space(
        depth=draw(st.sampled_from([(1,), (2,), (1, 2)])),
        width=draw(st.sampled_from([(64,), (64, 96)])),
        mixers=tuple(mixers),
        feed_forward=draw(st.sampled_from([(1.0,), (1.0, 1.2), (1.0, 2.5)])),
        vocab_size=draw(st.sampled_from([(512,), (512, 4096)])),
        kernel=draw(st.sampled_from([(1,), (1, 3)])),
        head_dim=draw(st.sampled_from([(16,), (32,), (16, 32)])),
        kv_heads=draw(st.sampled_from([(1,), (2, 3), (1, 2, 4)])),
        window=draw(st.sampled_from([(8,), (8, 16)])),
        embedding_share=draw(st.sampled_from([(1.0,), (0.5, 0.9, 1.0)])),
        rules=Rules(longest_run_without_attention=draw(st.sampled_from(runs))),
    )


@settings(max_examples=60, deadline=None)
@given(spaces())
def test_size_and_bounds_are_those_of_the_architectures_listed_one_by_one(space):
    listed = set(architectures(space))
    assert space_size(space) == len(listed)
    totals = [parameter_counts(architecture).total for architecture in listed]
    reached = parameter_range(space)
    assert (reached.least, reached.most) == (min(totals), max(totals))
    sizes = [weight_bytes(architecture, "int4") for architecture in listed]
    weights = weight_range(space, "int4")
    assert (weights.least, weights.most) == (min(sizes), max(sizes))


POINT = Point(
    layout="casl-",
    width=96,
    feed_forward=1.2,
    vocab_size=1024,
    kernel=5,
    head_dim=16,
    kv_heads=4,
    window=8,
    embedding_share=0.4,
)


class TestBuild:
    def test_each_letter_is_the_mixer_it_stands_for(self):
        full = Attention(heads=6, kv_heads=3, head_dim=16, rope_base=1e6)
        assert [layer.mixer for layer in build(POINT).layers] == [
            ShortConv(kernel=5),
            full,
            replace(full, window=8, rope_base=1e4),
            LinearAttention(heads=6, key_dim=8, value_dim=16),
            None,
        ]
        assert build(POINT).layout == POINT.layout

    def test_widths_are_whole_quantisation_blocks(self):
        # 96 x 1.2 = 115.2 and 96 x 0.4 = 38.4, in blocks of 32
        built = build(POINT)
        assert built.layers[0].feed_forward_width == 128
        assert built.embedding_width == 32
        assert build(replace(POINT, embedding_share=0.01)).embedding_width == 32

    @pytest.mark.parametrize(
        ("kv_heads", "kept"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 3), (6, 6), (64, 6)]
    )
    def test_key_value_heads_are_rounded_down_to_a_divisor_of_six(self, kv_heads, kept):
        attention = build(replace(POINT, kv_heads=kv_heads)).layers[1].mixer
        assert isinstance(attention, Attention)
        assert attention.kv_heads == kept

    def test_linear_attention_is_as_large_as_a_convolution(self):
        wide = replace(POINT, width=1024, head_dim=64, kernel=3)
        convolution, linear = (
            parameter_counts(build(replace(wide, layout=letter))).mixers for letter in "cl"
        )
        assert linear == pytest.approx(convolution, rel=0.01)


def test_lfm2_is_a_point():
    lfm2 = replace(
        POINT,
        layout="ccaccaccacacacac",
        width=1024,
        feed_forward=4.5,
        vocab_size=65_536,
        kernel=3,
        head_dim=64,
        kv_heads=8,
        embedding_share=1.0,
    )
    assert build(lfm2) == PRESETS["lfm2-350m"]


CHOICES = {"depth": (4, 6), "width": (64, 128), "mixers": ("c", "a")}
CHOICES |= {"feed_forward": (2.0,), "vocab_size": (512,)}


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("depth", (), "depth: [] is not one or more choices"),
        ("depth", (0, 2), "depth: 0 is not between 1 and 128"),
        ("depth", (4, 4), "depth: [4, 4] is not in rising order, each value once"),
        ("width", (128, 64), "width: [128, 64] is not in rising order, each value once"),
        ("width", (100,), "width: 100 is not a multiple of 32"),
        ("width", (64, 96), "width: 96 is not a multiple of head_dim = 64"),
        ("mixers", (), "mixers: [] is not one or more different letters"),
        ("mixers", ("c", "c"), "mixers: ['c', 'c'] is not one or more different letters"),
        ("feed_forward", (float("nan"),), "feed_forward: nan is not between 0.1 and 16"),
        ("vocab_size", (16,), "vocab_size: 16 is not between 256 and 1,048,576"),
        ("head_dim", (24,), "head_dim: 24 is not a multiple of 16"),
        ("embedding_share", (0.5, 1.5), "embedding_share: 1.5 is not between 0.01 and 1"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_by_name(field, value, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Space(**{**CHOICES, field: value})


def test_the_size_of_a_head_is_free_where_no_mixer_has_heads():
    assert space_size(Space(**{**CHOICES, "width": (96,), "mixers": ("c", "-")})) == 16 + 64


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ({"first": ("l",)}, "rules.first: 'l' is not among the mixers, c, a"),
        (
            {"attention_layers": (5, 9)},
            "rules.attention_layers: [5, 9] is not possible with 4 layers of c, a",
        ),
        (
            {"attention_layers": (0, 1), "longest_run_without_attention": 2},
            "rules.attention_layers: [0, 1] is not possible with 6 layers of c, a",
        ),
        (
            {"attention_layers": (4, 4), "first": ("c",)},
            "rules.attention_layers: [4, 4] is not possible with 4 layers of c, a",
        ),
        (
            {"parameters": (1, 1_000)},
            "rules.parameters: 1 to 1,000 is not within reach of the choices, "
            "which give 197,696 to 1,052,544",
        ),
    ],
)
def test_rules_that_leave_nothing_are_refused_by_name(rules, named):
    with pytest.raises(ValueError, match=f"^{re.escape(named)}$"):
        Space(**CHOICES, rules=Rules(**rules))


def test_attention_is_required_where_none_is_offered():
    with pytest.raises(ValueError, match=r"^rules\.attention_layers: \[1, 2\] is not possible"):
        Space(**{**CHOICES, "mixers": ("c", "l")}, rules=Rules(attention_layers=(1, 2)))


def test_a_rule_of_weights_is_judged_at_the_targets_quantisation():
    space = Space(**CHOICES, rules=Rules(weight_mb=(0, 0.2)))
    check_weight_rule(space, "int4")
    with pytest.raises(ValueError, match=r"^rules\.weight_mb: 0 to 0\.2 is not within reach"):
        check_weight_rule(space, "fp32")


def test_the_first_broken_rule_is_a_sentence():
    model = PRESETS["lfm2-350m"]
    rules = Rules(attention_layers=(2, 6), last=("c",), parameters=(10**8, 3 * 10**8))
    space = Space(**{**CHOICES, "depth": (16,), "width": (1024,)}, rules=rules)
    sentence = "parameters: 354,483,968 is not 100,000,000 to 300,000,000"
    assert broken_rule(model, space, "int4") == sentence
    narrower = replace(space, rules=replace(rules, attention_layers=(2, 5)))
    assert broken_rule(model, narrower, "int4") == "attention_layers: 6 is not 2 to 5"
    assert broken_rule(model, replace(space, rules=Rules()), "int4") is None
