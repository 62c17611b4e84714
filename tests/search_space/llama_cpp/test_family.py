import math
from dataclasses import replace

import pytest

from search_space.architecture import Layer
from search_space.llama_cpp.family import unsupported_by_llama_cpp
from search_space.preset_models import PRESETS
from tests.search_space.strategies import ATTENTION, CONV, LINEAR, WINDOW, stack

# As wide together as the model, as they have to be beside convolutions.
HEADS = replace(ATTENTION, heads=2)
PLAIN = replace(ATTENTION, qk_norm=False)
GEMMA = {"sandwich_norm": True, "activation": "gelu_tanh", "embedding_multiplier": math.sqrt(32)}

UNSUPPORTED = {
    "no layers without a mixer": stack(HEADS, None),
    "no gated linear attention beside these layers": stack(CONV, HEADS, LINEAR),
    "no factorised embedding": stack(CONV, HEADS, embedding_width=16),
    "no head gates": stack(replace(ATTENTION, head_gate=True)),
    "no partly rotated heads": stack(replace(ATTENTION, rope_share=0.5)),
    "one feed-forward width": replace(
        stack(ATTENTION),
        layers=tuple(Layer(mixer=ATTENTION, feed_forward_width=width) for width in (32, 48)),
    ),
    "one head shape": stack(CONV, HEADS, replace(HEADS, heads=4, head_dim=8)),
    "head norms in all attention layers or in none": stack(PLAIN, ATTENTION),
    "one window": stack(CONV, replace(HEADS, window=3), replace(HEADS, window=4)),
    "windows in all attention layers": stack(CONV, HEADS, replace(HEADS, window=4)),
    "sliding windows beside convolutions or": stack(WINDOW, ATTENTION),
    "no stack of convolutions without an attention layer": stack(CONV, CONV),
    "no attention without head norms beside convolutions": stack(
        CONV, replace(HEADS, qk_norm=False)
    ),
    "heads that add up to the model's width": stack(CONV, ATTENTION),
    "one rotary base for all attention layers": stack(CONV, HEADS, replace(HEADS, rope_base=1e4)),
    "one rotary base for all layers of full": stack(ATTENTION, replace(ATTENTION, rope_base=1e4)),
    "one number of key/value heads in pure": stack(ATTENTION, replace(ATTENTION, kv_heads=1)),
    "no activation but silu": stack(CONV, HEADS, activation="gelu_tanh"),
    "no multiplied embedding": stack(CONV, HEADS, embedding_multiplier=2.0),
    "no convolutions beside sandwich norms": stack(CONV, HEADS, **GEMMA),
    "no attention without head norms beside sandwich": stack(PLAIN, **GEMMA),
    "no silu beside sandwich norms": stack(ATTENTION, **{**GEMMA, "activation": "silu"}),
    "an embedding times the root": stack(ATTENTION, **{**GEMMA, "embedding_multiplier": 1.0}),
    "one number of key/value heads beside": stack(
        ATTENTION, replace(ATTENTION, kv_heads=1), **GEMMA
    ),
    "one rotary base for all layers of sliding": stack(
        WINDOW, replace(WINDOW, rope_base=1e3), **GEMMA
    ),
}


@pytest.mark.parametrize("clause", UNSUPPORTED)
def test_what_llama_cpp_cannot_express_is_named(clause):
    reason = unsupported_by_llama_cpp(UNSUPPORTED[clause])
    assert reason is not None
    assert reason.startswith("llama.cpp has ")
    assert clause in reason


def test_published_models_are_expressible_but_for_gates_and_pure_convolutions():
    beyond = {name for name in PRESETS if unsupported_by_llama_cpp(PRESETS[name])}
    assert beyond == {"lfm3-1.7b", "lfm2-350m-all-conv"}
