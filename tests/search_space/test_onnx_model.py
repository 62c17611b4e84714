"""The ONNX model in onnxruntime against the torch model: prompts, chunks and single tokens."""

import copy
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings

from hardware.onnx_session import Session
from search_space.onnx_model import DESCRIPTION_FILE, write_onnx
from search_space.preset_models import PRESETS, preset
from search_space.proxy import proxy_of
from search_space.quantization import quantize
from search_space.torch_model import LanguageModel, weights_of
from tests.search_space.dequantization import dequantize
from tests.search_space.strategies import (
    ATTENTION,
    CONV,
    CORNERS,
    LINEAR,
    WINDOW,
    deployable_architectures,
    stack,
)

TOKENS = 12


def random_model(architecture) -> LanguageModel:
    """Return a model with initial weights, except that norms and biases are not constant."""
    model = LanguageModel(architecture)
    model.initialise(0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return model


def write(model: LanguageModel, folder, quantization="fp32", context_length=TOKENS):
    return write_onnx(
        model.architecture,
        folder,
        quantization=quantization,
        context_length=context_length,
        weights=weights_of(model),
    )


def random_tokens(architecture, length: int = TOKENS) -> np.ndarray:
    return np.random.default_rng(0).integers(architecture.vocab_size, size=length)


@torch.no_grad()
def torch_logits(model: LanguageModel, tokens: np.ndarray) -> np.ndarray:
    return model(torch.from_numpy(tokens)[None])[0].numpy()


@torch.no_grad()
def torch_steps(model: LanguageModel, tokens: np.ndarray) -> np.ndarray:
    states = model.initial_state(1)
    steps = [
        model.step(torch.tensor([token]), states, position) for position, token in enumerate(tokens)
    ]
    return torch.cat(steps).numpy()


def read_in_chunks(path, tokens: np.ndarray, size: int) -> dict[int, np.ndarray]:
    """Return logits by position, from a new session that reads `size` tokens at a time."""
    session = Session(path, cores=[0])
    return {
        min(start + size, len(tokens)) - 1: session.read(tokens[start : start + size])
        for start in range(0, len(tokens), size)
    }


def worst(logits: dict[int, np.ndarray], expected_TV: np.ndarray) -> float:
    """Return the largest difference, in standard deviations of all expected logits."""
    difference = max(np.abs(row - expected_TV[position]).max() for position, row in logits.items())
    return float(difference / expected_TV.std())


def assert_parity(
    model: LanguageModel, folder, chunks, prefixes, context_length=TOKENS, bound=1e-4
) -> None:
    tokens = random_tokens(model.architecture)
    expected_TV = torch_logits(model, tokens)
    assert worst(dict(enumerate(torch_steps(model, tokens))), expected_TV) < bound
    path = write(model, folder, context_length=context_length)
    for length in prefixes:
        prompt = read_in_chunks(path, tokens[:length], length)
        assert worst(prompt, expected_TV) < bound, f"a prompt of {length}"
    for size in chunks:
        assert worst(read_in_chunks(path, tokens, size), expected_TV) < bound, f"{size} at a time"


@pytest.mark.parametrize("name", CORNERS)
def test_corner_layouts_give_the_torch_models_logits(name, tmp_path):
    model = random_model(CORNERS[name])
    assert_parity(model, tmp_path, chunks=(1, 2, 3, 5), prefixes=range(1, TOKENS + 1))


@pytest.mark.parametrize("name", PRESETS)
def test_small_versions_of_presets_give_the_torch_models_logits(name, tmp_path):
    small = proxy_of(PRESETS[name], 0.02, window_share=0.02)
    assert small.layout == PRESETS[name].layout
    assert_parity(random_model(small), tmp_path, chunks=(1, 5), prefixes=(1, TOKENS))


@settings(max_examples=12)
@given(architecture=deployable_architectures)
def test_random_architectures_give_the_torch_models_logits(architecture, tmp_path_factory):
    # Norms of a few small numbers amplify rounding errors up to a hundredfold; mistakes are larger.
    assert_parity(
        random_model(architecture),
        tmp_path_factory.mktemp("model"),
        chunks=(1, 4),
        prefixes=(TOKENS,),
        context_length=TOKENS + 7,
        bound=5e-3,
    )


QUANTISED = {
    "every mixer": replace(CORNERS["every mixer"], width=64, embedding_width=64),
    "no whole blocks": stack(CONV, ATTENTION, LINEAR, width=48),
    "biases and gates": stack(
        replace(ATTENTION, qkv_bias=True, head_gate=True),
        replace(ATTENTION, qkv_bias=True, qk_norm=False),
    ),
    "factorised and untied": stack(CONV, ATTENTION, width=64, tied_head=False),
}


def with_dequantised_weights(model: LanguageModel, bits) -> LanguageModel:
    """Return the torch model with the weights that the file's codes represent."""
    coded = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in coded.named_parameters():
            if weight.dim() == 2 and not name.endswith("kernel_DW"):
                weight.copy_(torch.from_numpy(dequantize(quantize(weight.numpy(), bits))))
    return coded


def with_float_activations(path) -> None:
    """Make the fused products use float32 activations; as written they round them to int8."""
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 0
    onnx.save(model, path)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_weights_are_exactly_those_that_their_codes_represent(name, bits, tmp_path):
    model = random_model(QUANTISED[name])
    tokens = random_tokens(model.architecture)
    expected_TV = torch_logits(with_dequantised_weights(model, bits), tokens)
    path = write(model, tmp_path, f"int{bits}")
    with_float_activations(path)
    for size in (1, 5, TOKENS):
        assert worst(read_in_chunks(path, tokens, size), expected_TV) < 1e-4


def relative_error(logits: dict[int, np.ndarray], expected_TV: np.ndarray) -> float:
    """Return the root mean square of the differences, in standard deviations."""
    differences = np.stack([row - expected_TV[position] for position, row in logits.items()])
    return float(np.sqrt((differences**2).mean()) / expected_TV.std())


# Rounding activations to int8 causes an error of 0.02 to 0.10 in these models; a wrong matrix
# causes 0.25 or more.
MAX_ROUNDING_ERROR, MIN_MISTAKE = 0.15, 0.2


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", QUANTISED)
def test_int8_activations_cause_a_small_error(name, bits, tmp_path):
    model = random_model(QUANTISED[name])
    tokens = random_tokens(model.architecture)
    expected_TV = torch_logits(with_dequantised_weights(model, bits), tokens)
    path = write(model, tmp_path, f"int{bits}")
    for size in (1, 5):
        assert relative_error(read_in_chunks(path, tokens, size), expected_TV) < MAX_ROUNDING_ERROR


@pytest.mark.parametrize("bits", [4, 8])
def test_that_bound_detects_any_wrong_matrix(bits, tmp_path):
    model = random_model(QUANTISED["every mixer"])
    tokens = random_tokens(model.architecture)
    expected_TV = torch_logits(with_dequantised_weights(model, bits), tokens)
    names = [name for name, weight in model.named_parameters() if weight.dim() == 2]
    for name in names:
        if name.endswith(("kernel_DW", "decay_proj.weight")):
            continue  # not quantised; with too small an effect within a dozen tokens
        wrong = copy.deepcopy(model)
        with torch.no_grad():
            weight = wrong.get_parameter(name)
            weight.copy_(weight.roll(1, dims=0))
        logits = read_in_chunks(write(wrong, tmp_path, f"int{bits}"), tokens, 1)
        assert relative_error(logits, expected_TV) > MIN_MISTAKE, name


def graph_of(path) -> onnx.GraphProto:
    return onnx.load(path, load_external_data=False).graph


def shape_of(value: onnx.ValueInfoProto) -> list[int | str]:
    return [extent.dim_param or extent.dim_value for extent in value.type.tensor_type.shape.dim]


def test_the_cache_of_a_window_is_as_long_as_the_window(tmp_path):
    path = write_onnx(stack(WINDOW, ATTENTION), tmp_path, quantization="fp32", context_length=64)
    graph = graph_of(path)
    shapes = {value.name: shape_of(value) for value in (*graph.input, *graph.output)}
    for end in ("past", "present"):
        assert shapes[f"{end}.layers.0.mixer.key"] == [1, 2, WINDOW.window, 16]
        assert shapes[f"{end}.layers.1.mixer.key"] == [1, 2, "capacity", 16]


def test_one_graph_reads_prompts_of_any_length_and_returns_the_last_logits(tmp_path):
    graph = graph_of(write_onnx(stack(CONV), tmp_path, quantization="int4", context_length=64))
    inputs = {value.name: shape_of(value) for value in graph.input}
    assert inputs == {"tokens": [1, "time"], "total_length": [], "past.layers.0.mixer": [1, 2, 32]}
    assert {value.name: shape_of(value) for value in graph.output} == {
        "logits": [1, 1, 64],
        "present.layers.0.mixer": [1, 2, 32],
    }


def test_weights_are_outside_the_graph_and_a_tied_table_is_stored_once(tmp_path):
    path = write_onnx(preset("lfm2-350m"), tmp_path, quantization="int4", context_length=1024)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.json", "model.onnx"]
    assert path.stat().st_size < 1_000_000
    weights = json.loads((tmp_path / DESCRIPTION_FILE).read_text())["weights"]
    table, blocks = (
        next(weight for weight in weights if weight["name"] == f"embedding.weight.{part}")
        for part in ("table", "blocks")
    )
    assert table["offset"] == blocks["offset"]
    assert np.prod(table["shape"]) == np.prod(blocks["shape"]) == 65_536 * 1_024 // 2


def test_equal_calls_write_equal_files(tmp_path):
    files = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        write_onnx(CORNERS["every mixer"], folder, quantization="fp32", context_length=64)
        files.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert files[0] == files[1]


@pytest.mark.parametrize("quantization", ["fp32", "int4"])
def test_onnx_accepts_the_graph_as_well_formed(quantization, tmp_path):
    model = random_model(QUANTISED["every mixer"])
    path = write(model, tmp_path, quantization)
    graph = onnx.load(path)
    for node in graph.graph.node:
        # onnxruntime defines it in the standard domain, although the standard does not.
        if node.op_type == "SimplifiedLayerNormalization":
            node.domain = "com.microsoft"
    onnx.checker.check_model(graph)


@pytest.mark.parametrize(
    ("architecture", "quantization", "expected"),
    [
        (
            stack(CONV, embedding_width=16),
            "int4",
            "embedding_width: 16 is not a multiple of 32, the block size of int4 weights",
        ),
        (
            stack(replace(ATTENTION, head_dim=24)),
            "fp32",
            "head_dim: 24 is not a multiple of 16, which onnxruntime's attention operator requires",
        ),
        (
            stack(replace(ATTENTION, head_dim=12, rope_share=0.0)),
            "fp32",
            "head_dim: 12 is not a multiple of 8, which onnxruntime's attention operator requires",
        ),
    ],
)
def test_unsupported_sizes_are_refused(architecture, quantization, expected, tmp_path):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared whole
        write_onnx(architecture, tmp_path, quantization=quantization, context_length=8)
    assert str(caught.value) == expected
    assert not list(tmp_path.iterdir())


def test_a_context_whose_rotary_tables_fit_into_no_graph_is_refused(tmp_path):
    architecture = stack(ATTENTION, replace(ATTENTION, rope_base=1e4), CONV)
    with pytest.raises(ValueError, match=r"^context_length: 100,000,000 is above 7,812,500, the"):
        write_onnx(architecture, tmp_path, quantization="fp32", context_length=100_000_000)
