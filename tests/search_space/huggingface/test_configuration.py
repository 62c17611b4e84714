"""Conversion of architectures to transformers configurations and back."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from search_space.architecture import Architecture, architecture_hash
from search_space.huggingface.configuration import architecture_of, config_of, without_scaling
from search_space.preset_models import PRESETS
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.space_definition import Space
from tests.search_space.huggingface.published import LLAMA_3_2, PUBLISHED
from tests.search_space.strategies import (
    ATTENTION,
    CONV,
    CORNERS,
    LINEAR,
    WINDOW,
    architectures,
    stack,
)

GATED = replace(ATTENTION, head_gate=True, rope_share=0.5)
GATED_WINDOW = replace(WINDOW, head_gate=True)
PLAIN = replace(ATTENTION, qk_norm=False, head_dim=8)


def there_and_back(architecture: Architecture) -> Architecture:
    """Convert to the text of a `config.json` and back."""
    config = json.loads(json.dumps(config_of(architecture)))
    return architecture_of(config, "config.json")


@given(architectures())
@settings(max_examples=200)
def test_any_architecture_is_read_back_unchanged(architecture: Architecture) -> None:
    assert architecture_hash(there_and_back(architecture)) == architecture_hash(architecture)


@pytest.mark.parametrize("mixers", ["casl-", "ca", "cas", "a", "s"])
def test_architectures_drawn_from_a_space_are_read_back_unchanged(mixers: str) -> None:
    space = Space(
        depth=(2, 5),
        width=(64, 96),
        mixers=tuple(mixers),
        feed_forward=(1.0, 2.5),
        vocab_size=(256,),
        kernel=(1, 3),
        head_dim=(16, 32),
        kv_heads=(1, 2),
        window=(1, 8),
        embedding_share=(0.5, 1.0),
    )
    suggester = RandomSuggester(np.random.default_rng(0))
    for _ in range(40):
        architecture = draw(space, suggester)
        assert architecture_hash(there_and_back(architecture)) == architecture_hash(architecture)


@pytest.mark.parametrize("name", CORNERS)
def test_corner_layouts_are_read_back_unchanged(name: str) -> None:
    assert there_and_back(CORNERS[name]) == CORNERS[name]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_read_back_unchanged(name: str) -> None:
    assert there_and_back(PRESETS[name]) == PRESETS[name]


@pytest.mark.parametrize(
    ("model_type", "architecture"),
    [
        ("llama", stack(PLAIN, PLAIN)),
        ("llama", stack(PLAIN, activation="gelu_tanh", tied_head=False)),
        ("qwen3", stack(ATTENTION, ATTENTION)),
        ("qwen3", stack(ATTENTION, replace(ATTENTION, window=4))),
        ("qwen2", stack(replace(PLAIN, qkv_bias=True))),
        ("lfm2", stack(CONV, replace(ATTENTION, head_dim=8), CONV)),
        ("lfm3", stack(CONV, ATTENTION)),  # in LFM2, the heads add up to the width
        ("lfm3", stack(CONV, GATED, GATED_WINDOW, sandwich_norm=True)),
        ("hybrid_lm", stack(CONV, LINEAR, ATTENTION)),
        ("hybrid_lm", stack(CONV, None, ATTENTION)),
        ("hybrid_lm", stack(CONV, replace(CONV, kernel=4), ATTENTION)),
        ("hybrid_lm", stack(CONV, ATTENTION, embedding_width=16)),
        ("hybrid_lm", stack(ATTENTION, replace(ATTENTION, rope_base=1e4))),
        # The families' classes in transformers cannot generate text with these.
        ("hybrid_lm", stack(CONV, CONV)),
        ("hybrid_lm", stack(replace(ATTENTION, window=1))),
        ("hybrid_lm", stack(replace(PLAIN, heads=3, kv_heads=1))),
    ],
)
def test_a_family_is_used_if_it_computes_the_same_function(
    model_type: str, architecture: Architecture
) -> None:
    assert config_of(architecture)["model_type"] == model_type


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configurations_are_our_presets(name: str) -> None:
    found = architecture_of(PUBLISHED[name], "config.json")
    assert architecture_hash(found) == architecture_hash(PRESETS[name])


def test_llama_3_2_is_our_preset_except_for_its_rescaled_positions() -> None:
    with pytest.raises(ValueError, match=r"rope_scaling: rope_type: 'llama3' rescales rotary"):
        architecture_of(LLAMA_3_2, "config.json")
    assert architecture_of(without_scaling(LLAMA_3_2), "config.json") == PRESETS["llama-3.2-1b"]


def test_rescaling_is_removed_from_files_of_the_new_form_too() -> None:
    new = {name: value for name, value in LLAMA_3_2.items() if not name.startswith("rope")}
    new["rope_parameters"] = {"rope_theta": 500_000.0, "rope_type": "llama3", "factor": 32.0}
    with pytest.raises(ValueError, match="rope_parameters: rope_type: 'llama3'"):
        architecture_of(new, "config.json")
    assert architecture_of(without_scaling(new), "config.json") == PRESETS["llama-3.2-1b"]


@pytest.mark.parametrize("field", ["rope_type", "type"])
def test_rescaling_is_removed_by_its_older_name_too(field: str) -> None:
    new = {name: value for name, value in LLAMA_3_2.items() if not name.startswith("rope")}
    new["rope_parameters"] = {"rope_theta": 500_000.0, field: "yarn", "factor": 32.0}
    with pytest.raises(ValueError, match=r"rope_type: 'yarn' rescales.*--without-rope-scaling"):
        architecture_of(new, "config.json")
    assert architecture_of(without_scaling(new), "config.json") == PRESETS["llama-3.2-1b"]


@pytest.mark.parametrize("name", ["lfm3-1.7b", "gemma-3-270m", "qwen3-0.6b", "lfm2-350m"])
def test_a_configuration_without_rescaling_is_unchanged(name: str) -> None:
    plain = without_scaling(config_of(PRESETS[name]))
    assert architecture_of(plain, "config.json") == PRESETS[name]


LAYER = {"feed_forward_width": 8, "mixer": {"kind": "short_conv", "kernel": 0}}


@pytest.mark.parametrize(
    ("base", "change", "sentence"),
    [
        ("qwen3-0.6b", {"model_type": "mixtral"}, "model_type: 'mixtral' is not one of llama, "),
        ("qwen3-0.6b", {"model_type": ["qwen3"]}, 'model_type: ["qwen3"] is not one of llama, '),
        ("qwen3-0.6b", {"model_type": ...}, "model_type is missing; it is one of llama, "),
        ("qwen3-0.6b", {"hidden_size": ...}, "hidden_size is missing"),
        ("qwen3-0.6b", {"hidden_size": "wide"}, "hidden_size: 'wide' is not a whole number"),
        ("qwen3-0.6b", {"hidden_size": 0}, "hidden_size: 0 is not between 1 and 65,536"),
        ("qwen3-0.6b", {"num_key_value_heads": ...}, "num_key_value_heads is missing"),
        ("qwen3-0.6b", {"num_key_value_heads": 5}, "num_key_value_heads: 5 does not divide"),
        ("qwen3-0.6b", {"num_attention_heads": 0}, "num_attention_heads: 0 is not at least 1"),
        ("qwen3-0.6b", {"num_hidden_layers": 10**9}, "num_hidden_layers: 1000000000 is not betw"),
        ("qwen3-0.6b", {"attention_bias": True}, "attention_bias: true is not supported; only"),
        ("qwen3-0.6b", {"hidden_act": "relu"}, "hidden_act: 'relu' is not one of silu, swish, "),
        ("qwen3-0.6b", {"rms_norm_eps": 0}, "rms_norm_eps: 0.0 is not above 0"),
        ("qwen3-0.6b", {"head_dim": 127}, "head_dim: 127 is not even"),
        ("qwen3-0.6b", {"layer_types": ["conv"]}, "layer_types: 1 entries do not match num_hidd"),
        ("qwen3-0.6b", {"layer_types": ["conv"] * 28}, "layer_types[0]: 'conv' is not one of full"),
        (
            "qwen3-0.6b",
            {"layer_types": ["sliding_attention"] * 28, "sliding_window": 8},
            "use_sliding_window: false contradicts layer_types",
        ),
        (
            "qwen3-0.6b",
            {"rope_scaling": {"type": "yarn", "factor": 4.0}},
            "rope_scaling: rope_type: 'yarn' rescales rotary frequencies",
        ),
        (
            "qwen3-0.6b",
            {"rope_parameters": {"rope_type": "proportional"}},
            "rope_parameters: rope_type: 'proportional' is not one of default",
        ),
        ("qwen3-0.6b", {"rope_scaling": {"factor": 4.0}}, "rope_scaling: a factor contradicts"),
        ("qwen3-0.6b", {"per_layer_config": {"0": {}}}, 'per_layer_config: {"0": {}} is not '),
        ("smollm2-135m", {"mlp_bias": True}, "mlp_bias: true is not supported; only false"),
        ("smollm2-135m", {"sliding_window": 64}, "sliding_window: 64 is not supported; only nu"),
        ("smollm2-135m", {"hidden_size": 577}, "num_attention_heads: 9 does not divide hidden_si"),
        ("gemma-3-270m", {"query_pre_attn_scalar": 168}, "query_pre_attn_scalar: 168 is not supp"),
        ("gemma-3-270m", {"final_logit_softcapping": 30.0}, "final_logit_softcapping: 30.0 is not"),
        (
            "gemma-3-270m",
            {"use_bidirectional_attention": True},
            "use_bidirectional_attention: true",
        ),
        ("gemma-3-270m", {"sliding_window": None}, "sliding_window is missing"),
        ("lfm2-350m", {"conv_bias": True}, "conv_bias: true is not supported; only false"),
        ("lfm2-350m", {"conv_L_cache": 0}, "conv_L_cache: 0 is not between 1 and 256"),
        ("lfm2-350m", {"rope_theta": 0.5}, "rope_theta: 0.5 is not above 1"),
        ("lfm2-350m", {"rope_theta": 0, "rope_parameters": None}, "rope_theta: 0.0 is not above 1"),
        ("qwen3-0.6b", {"rope_parameters": {"rope_theta": 0}}, "rope_theta: 0.0 is not above 1"),
        ("qwen3-0.6b", {"head_dim": 0}, "head_dim: 0 is not between 1 and 1,024"),
        ("lfm2-350m-all-conv", {"layers": [LAYER]}, "layers[0].mixer.kernel: 0 is not between"),
        ("lfm2-350m-all-conv", {"layers": ...}, "layers is missing"),
        ("lfm2-350m-all-conv", {"layers": []}, "layers: 0 entries do not match num_hidden_la"),
        ("lfm2-350m-all-conv", {"embedding_width": 9999}, "embedding_width: 9999 is greater th"),
        ("lfm2-350m-all-conv", {"hidden_size": 0}, "hidden_size: 0 is not between 1 and 65,536"),
    ],
)
def test_an_error_names_the_field_in_one_sentence(
    base: str, change: dict[str, object], sentence: str
) -> None:
    config: dict[str, object] = {**(PUBLISHED.get(base) or config_of(PRESETS[base])), **change}
    config = {name: value for name, value in config.items() if value is not ...}
    with pytest.raises(ValueError) as mistake:  # noqa: PT011 - the text is compared below
        architecture_of(config, "config.json")
    assert f"config.json: {sentence}" in str(mistake.value)
    assert "\n" not in str(mistake.value)
