"""Our models against transformers: the same parameters, logits and generated text."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings

from nas.exporters.huggingface import modeling_hybrid_lm
from nas.exporters.huggingface.configuration_hybrid_lm import HybridLMConfig
from nas.exporters.huggingface.modeling_hybrid_lm import HybridLMForCausalLM
from search_space.architecture import Architecture
from search_space.costs import parameter_counts
from search_space.huggingface.configuration import CUSTOM, architecture_of, config_of
from search_space.preset_models import PRESETS
from tests.nas.exporters.huggingface.exported import Exported, export
from tests.search_space.strategies import (
    ATTENTION,
    CONV,
    CORNERS,
    KINDS,
    LINEAR,
    WINDOW,
    architectures,
    stack,
)

GATED = replace(ATTENTION, head_gate=True, rope_share=0.5)
PLAIN = replace(ATTENTION, qk_norm=False, head_dim=8)
GEMMA = stack(
    *[replace(ATTENTION, window=4, rope_base=1e4)] * 2,
    ATTENTION,
    sandwich_norm=True,
    activation="gelu_tanh",
    embedding_multiplier=math.sqrt(32),
)

FAMILIES: dict[str, Architecture] = {
    "llama": stack(PLAIN, PLAIN),
    "llama, untied": stack(PLAIN, tied_head=False),
    "qwen2": stack(replace(PLAIN, qkv_bias=True), replace(PLAIN, qkv_bias=True)),
    "qwen3, with windows": stack(ATTENTION, replace(ATTENTION, window=4)),
    "gemma3_text": GEMMA,
    "gemma3_text, full attention only": replace(GEMMA, layers=GEMMA.layers[2:]),
    "lfm2": stack(CONV, replace(ATTENTION, head_dim=8), CONV),
    "lfm2, kernel 1": stack(replace(CONV, kernel=1), replace(ATTENTION, head_dim=8)),
    "lfm3": stack(CONV, GATED, replace(WINDOW, head_gate=True), sandwich_norm=True),
}


def transformers_count(architecture: Architecture) -> int:
    """Count the parameters of a model on the meta device; a tied head is counted once."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = config_of(architecture)
    with torch.device("meta"):
        if config["model_type"] == CUSTOM:
            model = HybridLMForCausalLM(HybridLMConfig(**config))
        else:
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    return sum(weight.numel() for weight in model.parameters())


def tokens_for(architecture: Architecture, batch: int, length: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(architecture.vocab_size, (batch, length), generator=generator)


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Assert equality up to 1e-4 of the standard deviation of the logits."""
    assert (found - expected).abs().max() <= 1e-4 * expected.std()


def greedy(exported: Exported, prompt: torch.Tensor, count: int, **options: object) -> torch.Tensor:
    return exported.theirs.generate(prompt, max_new_tokens=count, do_sample=False, **options)


def test_the_exported_code_contains_every_mixer() -> None:
    assert list(modeling_hybrid_lm.MIXERS) == list(KINDS)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_same_number_of_parameters(name: str) -> None:
    assert transformers_count(PRESETS[name]) == parameter_counts(PRESETS[name]).total


@given(architectures())
@settings(max_examples=200)
def test_any_architecture_has_the_same_number_of_parameters(architecture: Architecture) -> None:
    assert transformers_count(architecture) == parameter_counts(architecture).total


@pytest.mark.parametrize("name", ["Llama", "Qwen2", "Qwen3", "Gemma3Text", "Lfm2", "Lfm3"])
def test_the_default_configurations_of_transformers_are_read_as_its_classes_do(name: str) -> None:
    import transformers

    config = getattr(transformers, f"{name}Config")(num_hidden_layers=9)
    found = architecture_of(json.loads(config.to_json_string()), name)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert parameter_counts(found).total == sum(weight.numel() for weight in model.parameters())


def test_the_default_lfm3_is_our_preset() -> None:
    from transformers import Lfm3Config

    config = json.loads(Lfm3Config().to_json_string())
    assert architecture_of(config, "Lfm3Config") == PRESETS["lfm3-1.7b"]


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_is_among_the_examples_below(name: str) -> None:
    assert config_of(FAMILIES[name])["model_type"] == name.partition(",")[0]


@pytest.mark.parametrize("name", FAMILIES | CORNERS)
@torch.no_grad()
def test_logits_and_text_are_ours(name: str, tmp_path: Path) -> None:
    architecture = (FAMILIES | CORNERS)[name]
    exported = export(architecture, tmp_path)
    tokens = tokens_for(architecture, batch=2, length=45)
    assert_close(exported.theirs(tokens).logits, exported.ours(tokens))

    text = prompt = tokens[:1, :9]
    for _ in range(32):
        text = torch.cat([text, exported.ours(text)[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(greedy(exported, prompt, 32, use_cache=True), text)
    assert torch.equal(greedy(exported, prompt, 32, use_cache=False), text)


OWN = {
    "every mixer": CORNERS["every mixer"],
    "no attention": CORNERS["no attention"],
    "window 2": CORNERS["window 2"],
}


@pytest.mark.parametrize("name", OWN)
@torch.no_grad()
def test_padding_to_the_left_changes_nothing(name: str, tmp_path: Path) -> None:
    exported = export(OWN[name], tmp_path)
    prompt = tokens_for(OWN[name], batch=1, length=9)
    padded = torch.cat([prompt.new_zeros(1, 5), prompt], dim=1)
    longer = tokens_for(OWN[name], batch=1, length=14)
    mask = torch.ones(2, 14, dtype=torch.long)
    mask[0, :5] = 0
    both = greedy(exported, torch.cat([padded, longer]), 12, attention_mask=mask)
    assert torch.equal(both[0, 14:], greedy(exported, prompt, 12)[0, 9:])
    assert torch.equal(both[1, 14:], greedy(exported, longer, 12)[0, 14:])


@pytest.mark.parametrize("name", OWN)
@torch.no_grad()
def test_a_text_read_in_pieces_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    exported = export(OWN[name], tmp_path)
    tokens = tokens_for(OWN[name], batch=2, length=70)
    whole, cache = exported.theirs(tokens).logits, None
    for piece, expected in zip(
        tokens.split([1, 40, 3, 26], 1), whole.split([1, 40, 3, 26], 1), strict=True
    ):
        output = exported.theirs(piece, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        assert_close(output.logits, expected)
    assert cache is not None
    assert cache.get_seq_length() == 70


@torch.no_grad()
def test_beams_keep_their_own_caches(tmp_path: Path) -> None:
    exported = export(CORNERS["every mixer"], tmp_path)
    prompt = tokens_for(CORNERS["every mixer"], batch=2, length=9)
    options = {"num_beams": 4, "early_stopping": True}
    cached = greedy(exported, prompt, 16, **options)
    assert torch.equal(cached, greedy(exported, prompt, 16, use_cache=False, **options))


@torch.no_grad()
def test_a_mask_of_another_length_is_refused(tmp_path: Path) -> None:
    exported = export(stack(CONV, LINEAR), tmp_path)
    with pytest.raises(ValueError, match=r"attention_mask: the shape \(1, 4\) is not \(1, 5\)"):
        exported.theirs(torch.zeros(1, 5, dtype=torch.long), attention_mask=torch.ones(1, 4))
