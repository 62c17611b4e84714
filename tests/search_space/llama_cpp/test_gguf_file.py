"""GGUF files against the torch model: their content, and the logits that llama.cpp computes."""

import copy
import math
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize, quantize

from search_space.architecture import Attention, ShortConv
from search_space.costs import parameter_counts
from search_space.llama_cpp.family import unsupported_by_llama_cpp
from search_space.llama_cpp.gguf_file import GgufQuantization, write_gguf
from search_space.preset_models import PRESETS, preset
from search_space.proxy import proxy_of
from search_space.torch_model import LanguageModel, weights_of
from tests.hardware.llama_programs import llama_program
from tests.search_space.strategies import ATTENTION, CONV, WINDOW, stack
from tests.search_space.test_onnx_model import random_model, random_tokens, torch_logits

TOKENS = 12
# In models with convolutions, heads must add up to the width.
HEADS = replace(ATTENTION, heads=2)
PLAIN = replace(ATTENTION, qk_norm=False)
GEMMA = {"sandwich_norm": True, "activation": "gelu_tanh", "embedding_multiplier": math.sqrt(32)}

SUPPORTED = {
    "convolution and attention": stack(CONV, HEADS),
    "attention first": stack(HEADS, CONV),
    "kernel 1": stack(ShortConv(kernel=1), HEADS),
    "kernel 7": stack(ShortConv(kernel=7), HEADS),
    "kernels of many lengths": stack(ShortConv(kernel=1), ShortConv(kernel=5), CONV, HEADS),
    "kernel above any prompt": stack(ShortConv(kernel=40), HEADS),
    "key heads that differ": stack(CONV, HEADS, replace(HEADS, kv_heads=1)),
    "windows and convolutions": stack(CONV, replace(HEADS, window=4), replace(HEADS, window=4)),
    "window 1": stack(CONV, replace(HEADS, window=1)),
    "heads of two": stack(CONV, Attention(heads=16, kv_heads=2, head_dim=2)),
    "biases": stack(CONV, replace(HEADS, qkv_bias=True), HEADS),
    "untied": stack(CONV, HEADS, tied_head=False),
    "large epsilon": stack(CONV, HEADS, norm_eps=0.1),
    "odd sizes": stack(
        *(CONV, Attention(heads=7, kv_heads=1, head_dim=2)),
        vocab_size=11,
        width=14,
        embedding_width=14,
    ),
    "only attention": stack(ATTENTION, ATTENTION),
    "one layer": stack(ATTENTION),
    "one layer with biases": stack(replace(ATTENTION, qkv_bias=True)),
    "no head norms": stack(PLAIN, PLAIN),
    "no head norms, biases": stack(replace(PLAIN, qkv_bias=True)),
    "no head norms, wide heads": stack(replace(PLAIN, head_dim=48)),
    "sandwich norms": stack(ATTENTION, ATTENTION, **GEMMA),
    "sandwich norms and windows": stack(WINDOW, ATTENTION, WINDOW, **GEMMA),
    "sandwich norms, only windows": stack(WINDOW, WINDOW, **GEMMA),
}

SUPPORTED_PRESETS = [name for name in PRESETS if unsupported_by_llama_cpp(PRESETS[name]) is None]
# The rows of every matrix are multiples of the block size.
WHOLE = stack(
    *(CONV, replace(ATTENTION, qkv_bias=True), CONV),
    **dict.fromkeys(("width", "embedding_width"), 64),
)
WHOLE = replace(
    WHOLE, layers=tuple(replace(layer, feed_forward_width=96) for layer in WHOLE.layers)
)
TYPES = {
    "fp16": GGMLQuantizationType.F16,
    "int8": GGMLQuantizationType.Q8_0,
    "int4": GGMLQuantizationType.Q4_0,
}


def with_stored_weights(model: LanguageModel, quantization: str) -> LanguageModel:
    """Return the torch model with the weights that the file's codes represent."""
    held = copy.deepcopy(model)
    kind = TYPES[quantization]
    with torch.no_grad():
        for name, weight in held.named_parameters():
            if weight.dim() == 2 and not name.endswith("kernel_DW"):
                weight.copy_(torch.from_numpy(dequantize(quantize(weight.numpy(), kind), kind)))
    return held


def write(model: LanguageModel, folder: Path, quantization: GgufQuantization = "fp16") -> Path:
    return write_gguf(
        *(model.architecture, folder / "model.gguf"),
        quantization=quantization,
        context_length=TOKENS,
        weights=weights_of(model),
    )


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    return {
        tensor.name: dequantize(tensor.data, tensor.tensor_type)
        for tensor in GGUFReader(path).tensors
    }


def llama_logits(path: Path, tokens: np.ndarray, at_once: int) -> np.ndarray:
    """Return logits of all positions; the first `at_once` tokens are read in one batch."""
    command = [llama_program("llama-logits"), path, at_once, *tokens]
    ran = subprocess.run(list(map(str, command)), capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    return np.frombuffer(ran.stdout, dtype=np.float32).reshape(len(tokens), -1)


def assert_parity(model: LanguageModel, path: Path, bound: float = 2e-2) -> None:
    tokens = random_tokens(model.architecture)
    expected = torch_logits(model, tokens)
    second, best = np.sort(expected)[:, -2:].T
    clear = best - second > 2 * bound * expected.std()
    assert clear.any()
    for at_once in (TOKENS, 5, 1):
        logits = llama_logits(path, tokens, at_once)
        assert np.abs(logits - expected).max() < bound * expected.std()
        assert (logits.argmax(-1) == expected.argmax(-1))[clear].all()


@pytest.mark.parametrize("name", SUPPORTED)
def test_corner_layouts_give_the_torch_models_logits(name, tmp_path):
    model = random_model(SUPPORTED[name])
    assert_parity(with_stored_weights(model, "fp16"), write(model, tmp_path))


@pytest.mark.parametrize("name", SUPPORTED_PRESETS)
def test_small_versions_of_presets_give_the_torch_models_logits(name, tmp_path):
    small = proxy_of(preset(name), 0.02, window_share=0.02)
    # Eight layers contain every kind; in deeper models, errors of half precision accumulate.
    model = random_model(replace(small, layers=small.layers[:8]))
    assert_parity(with_stored_weights(model, "fp16"), write(model, tmp_path))


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_quantised_weights_give_the_logits_of_their_codes(quantization, tmp_path):
    model = random_model(WHOLE)
    # With quantised weights, llama.cpp rounds activations to 8 bits.
    path = write(model, tmp_path, quantization)
    assert_parity(with_stored_weights(model, quantization), path, bound=0.2)


def test_an_unsupported_architecture_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"^architecture: llama.cpp does not support convolutions"):
        write_gguf(stack(CONV), tmp_path / "model.gguf", quantization="int4", context_length=TOKENS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_file_has_as_many_parameters_as_the_architecture(name, tmp_path):
    architecture = SUPPORTED[name]
    convolutions = [
        layer.mixer.kernel for layer in architecture.layers if isinstance(layer.mixer, ShortConv)
    ]
    kernel = max([2, *convolutions])
    zeros = architecture.width * sum(kernel - own for own in convolutions)
    path = write_gguf(
        architecture, tmp_path / "model.gguf", quantization="fp16", context_length=TOKENS
    )
    elements = sum(tensor.n_elements for tensor in GGUFReader(path).tensors)
    assert elements - zeros == parameter_counts(architecture).total


@pytest.mark.parametrize("quantization", TYPES)
def test_a_file_contains_the_given_weights(quantization, tmp_path):
    model = random_model(WHOLE)
    held, given = (
        tensors_of(write(model, tmp_path, quantization)),
        weights_of(with_stored_weights(model, quantization)),
    )
    for ours, theirs in {
        "embedding.weight": "token_embd.weight",
        "final_norm.weight": "token_embd_norm.weight",
        "layers.0.mixer.in_proj.weight": "blk.0.shortconv.in_proj.weight",
        "layers.2.mixer.kernel_DW": "blk.2.shortconv.conv.weight",
        "layers.1.mixer.k_proj.weight": "blk.1.attn_k.weight",
        "layers.1.mixer.k_proj.bias": "blk.1.attn_k.bias",
        "layers.1.feed_forward.down_proj.weight": "blk.1.ffn_down.weight",
    }.items():
        np.testing.assert_array_equal(held[theirs], given[ours])


@pytest.mark.parametrize(
    ("quantization", "largest"), [("fp16", 65_504.0), ("int8", 8_319_008.0), ("int4", 524_032.0)]
)
def test_a_weight_that_its_matrix_cannot_store_is_refused(quantization, largest, tmp_path):
    architecture = SUPPORTED["only attention"]
    weights = weights_of(random_model(architecture))
    table = weights["embedding.weight"] = weights["embedding.weight"].copy()
    table[0, 0] = -largest
    options = {"quantization": quantization, "context_length": 16, "weights": weights}
    path = write_gguf(architecture, tmp_path / "m.gguf", **options)
    stored = next(each for each in GGUFReader(path).tensors if each.name == "token_embd.weight")
    values = dequantize(stored.data, stored.tensor_type)
    assert np.isfinite(values).all()
    assert values[0, 0] == pytest.approx(-largest, rel=1e-3)
    table[0, 0] *= 1.1
    with pytest.raises(ValueError, match=r"weights: embedding.weight contains a number of mag"):
        write_gguf(architecture, tmp_path / "m.gguf", **options)


def test_rows_that_are_no_multiple_of_the_block_size_are_in_half_precision(tmp_path):
    architecture = stack(CONV, HEADS)  # its feed-forward width is 48
    path = write_gguf(architecture, tmp_path / "m", quantization="int4", context_length=TOKENS)
    types = {tensor.name: tensor.tensor_type for tensor in GGUFReader(path).tensors}
    assert types["blk.0.ffn_up.weight"] == GGMLQuantizationType.Q4_0
    assert types["blk.0.ffn_down.weight"] == GGMLQuantizationType.F16
    assert types["blk.0.shortconv.conv.weight"] == GGMLQuantizationType.F32


@pytest.mark.parametrize("quantization", TYPES)
def test_random_weights_depend_on_the_seed_and_keep_the_scale_of_the_stream(quantization, tmp_path):
    first, again, other = (
        write_gguf(
            *(WHOLE, tmp_path / str(place)),
            quantization=quantization,
            context_length=TOKENS,
            seed=seed,
        )
        for place, seed in enumerate((1, 1, 2))
    )
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()
    for name, tensor in tensors_of(first).items():
        if name.endswith("norm.weight"):
            assert np.abs(tensor - 1).max() <= 0.1
        else:
            assert 0.5 < tensor.std() * tensor.shape[-1] ** 0.5 < 2, name
