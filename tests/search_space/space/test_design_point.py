from dataclasses import fields, replace
from typing import get_args

import pytest

from search_space.architecture import (
    MIXER_CHOICES,
    MIXERS,
    Attention,
    LinearAttention,
    MixerChoice,
    ShortConv,
)
from search_space.costs import parameter_counts
from search_space.preset_models import PRESETS
from search_space.space.design_point import DesignPoint, build
from search_space.space.space_definition import Space

POINT = DesignPoint(
    layout="".join(MIXERS),
    width=96,
    feed_forward=1.2,
    vocab_size=1024,
    kernel=5,
    head_dim=16,
    kv_heads=4,
    window=8,
    embedding_share=0.4,
)


def test_every_choice_of_a_mixer_is_read_and_has_values():
    assert set(MIXER_CHOICES) == set(get_args(MixerChoice))
    for table in (DesignPoint, Space):
        assert {field.name for field in fields(table)} >= set(MIXER_CHOICES)


class TestBuild:
    def test_each_letter_builds_its_mixer(self):
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

    def test_linear_attention_has_as_many_parameters_as_a_convolution(self):
        wide = replace(POINT, width=1024, head_dim=64, kernel=3)
        convolution, linear = (
            parameter_counts(build(replace(wide, layout=letter))).mixers for letter in "cl"
        )
        assert linear == pytest.approx(convolution, rel=0.01)


def test_lfm2_is_a_design_point():
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
