"""Which architectures llama.cpp supports, and the reasons why it does not support others."""

import math
from dataclasses import replace

import pytest

from search_space.architecture import Layer
from search_space.llama_cpp.family import unsupported_by_llama_cpp
from search_space.preset_models import PRESETS
from tests.search_space.strategies import ATTENTION, CONV, LINEAR, WINDOW, stack

# In models with convolutions, heads must add up to the width.
HEADS = replace(ATTENTION, heads=2)
PLAIN = replace(ATTENTION, qk_norm=False)
GEMMA = {"sandwich_norm": True, "activation": "gelu_tanh", "embedding_multiplier": math.sqrt(32)}

UNSUPPORTED = {
    "does not support layers without a mixer": stack(HEADS, None),
    "does not support gated linear attention": stack(CONV, HEADS, LINEAR),
    "does not support factorised embeddings": stack(CONV, HEADS, embedding_width=16),
    "does not support head gates": stack(replace(ATTENTION, head_gate=True)),
    "does not support partially rotated heads": stack(replace(ATTENTION, rope_share=0.5)),
    "the same feed-forward width": replace(
        stack(ATTENTION),
        layers=tuple(Layer(mixer=ATTENTION, feed_forward_width=width) for width in (32, 48)),
    ),
    "the same number and size of heads": stack(CONV, HEADS, replace(HEADS, heads=4, head_dim=8)),
    "head norms in all attention layers or in none": stack(PLAIN, ATTENTION),
    "the same window": stack(CONV, replace(HEADS, window=3), replace(HEADS, window=4)),
    "windows in all attention layers": stack(CONV, HEADS, replace(HEADS, window=4)),
    "sliding windows only in models with convolutions or": stack(WINDOW, ATTENTION),
    "does not support convolutions without an attention layer": stack(CONV, CONV),
    "head norms in models with convolutions": stack(CONV, replace(HEADS, qk_norm=False)),
    "heads that add up to the model's width": stack(CONV, ATTENTION),
    "the same rotary base in all attention layers": stack(
        CONV, HEADS, replace(HEADS, rope_base=1e4)
    ),
    "the same rotary base in all layers of full": stack(
        ATTENTION, replace(ATTENTION, rope_base=1e4)
    ),
    "the same number of key/value heads in all layers of models with attention only": stack(
        ATTENTION, replace(ATTENTION, kv_heads=1)
    ),
    "requires the activation silu": stack(CONV, HEADS, activation="gelu_tanh"),
    "does not support multiplied embeddings": stack(CONV, HEADS, embedding_multiplier=2.0),
    "does not support convolutions in models with sandwich norms": stack(CONV, HEADS, **GEMMA),
    "head norms in models with sandwich norms": stack(PLAIN, **GEMMA),
    "does not support the activation silu in models with sandwich norms": stack(
        ATTENTION, **{**GEMMA, "activation": "silu"}
    ),
    "embeddings multiplied by the square root": stack(
        ATTENTION, **{**GEMMA, "embedding_multiplier": 1.0}
    ),
    "the same number of key/value heads in all layers of models with sandwich": stack(
        ATTENTION, replace(ATTENTION, kv_heads=1), **GEMMA
    ),
    "the same rotary base in all layers of sliding": stack(
        WINDOW, replace(WINDOW, rope_base=1e3), **GEMMA
    ),
}


@pytest.mark.parametrize("clause", UNSUPPORTED)
def test_an_unsupported_feature_is_named(clause):
    reason = unsupported_by_llama_cpp(UNSUPPORTED[clause])
    assert reason is not None
    assert reason.startswith("llama.cpp ")
    assert clause in reason


def test_published_models_are_supported_except_for_gates_and_pure_convolutions():
    unsupported = {name for name in PRESETS if unsupported_by_llama_cpp(PRESETS[name])}
    assert unsupported == {"lfm3-1.7b", "lfm2-350m-all-conv"}
