import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from search_space.architecture import LinearAttention, ShortConv
from search_space.costs import (
    decode_flops,
    parameter_counts,
    prefill_flops,
    state_bytes,
    weight_bytes,
)
from search_space.onnx_model import DESCRIPTION_FILE, write_onnx
from search_space.preset_models import PRESETS
from search_space.torch_model import LanguageModel
from tests.search_space.strategies import CORNERS, architectures, deployable_architectures

PUBLISHED = {
    "lfm2.5-230m": 229_693_184,
    "lfm2-350m": 354_483_968,
    "lfm2-700m": 742_489_344,
    "lfm2-1.2b": 1_170_340_608,
    "lfm2-2.6b": 2_569_272_320,
    "lfm3-1.7b": 1_728_801_536,
    "gemma-3-270m": 268_098_176,
    "gemma-3-1b": 999_885_952,
    "qwen3-0.6b": 596_049_920,
    "qwen2.5-0.5b": 494_032_768,
    "llama-3.2-1b": 1_235_814_400,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "mobilellm-350m": 345_355_200,
}
PUBLISHED_EMBEDDING_SHARE = {
    "gemma-3-270m": 0.626,
    "gemma-3-1b": 0.302,
    "qwen3-0.6b": 0.261,
    "qwen2.5-0.5b": 0.276,
    "llama-3.2-1b": 0.213,
    "smollm2-135m": 0.210,
    "smollm2-360m": 0.130,
    "mobilellm-350m": 0.089,
    "lfm2-350m": 0.189,
}

ALL = {**CORNERS, **PRESETS}


def counted(architecture) -> dict[str, int]:
    """Count the elements of the torch model's weights, grouped by the names of the weights."""
    with torch.device("meta"):
        model = LanguageModel(architecture)
    counts = {"embedding": 0, "mixers": 0, "feed_forward": 0, "norms": 0}
    for name, weight in model.named_parameters():
        if name.endswith("norm.weight"):
            part = "norms"
        elif ".mixer." in name:
            part = "mixers"
        elif ".feed_forward." in name:
            part = "feed_forward"
        else:
            assert name.startswith(("embedding", "head"))
            part = "embedding"
        counts[part] += weight.numel()
    return counts


def by_part(architecture) -> dict[str, int]:
    counts = parameter_counts(architecture)
    return {
        part: getattr(counts, part) for part in ("embedding", "mixers", "feed_forward", "norms")
    }


def described(architecture, folder, quantization, context_length):
    write_onnx(architecture, folder, quantization=quantization, context_length=context_length)
    return json.loads((folder / DESCRIPTION_FILE).read_text())


def declared_weight_bytes(description) -> int:
    """Return the bytes that the graph declares; tensors with the same offset share their bytes."""
    sizes = {"uint8": 1, "float32": 4}
    tensors = {
        weight["offset"]: torch.Size(weight["shape"]).numel() * sizes[weight["dtype"]]
        for weight in description["weights"]
    }
    return sum(tensors.values())


def declared_state_bytes(description) -> int:
    capacity = description["context_length"]
    return sum(
        4 * torch.Size([extent or capacity for extent in state["shape"]]).numel()
        for state in description["states"]
    )


@pytest.mark.parametrize("name", ALL)
def test_parameters_of_each_part_equal_those_of_the_torch_model(name):
    assert by_part(ALL[name]) == counted(ALL[name])


@given(architecture=architectures())
def test_parameters_of_any_architecture_equal_those_of_the_torch_model(architecture):
    assert by_part(architecture) == counted(architecture)
    assert parameter_counts(architecture).total == sum(counted(architecture).values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_published_number_of_parameters(name):
    assert parameter_counts(PRESETS[name]).total == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED_EMBEDDING_SHARE)
def test_the_embedding_has_the_published_share(name):
    share = parameter_counts(PRESETS[name]).embedding_share
    assert share == pytest.approx(PUBLISHED_EMBEDDING_SHARE[name], abs=0.0005)


@pytest.mark.parametrize("quantization", ["fp32", "int8", "int4"])
@pytest.mark.parametrize("name", PRESETS)
def test_weights_take_the_bytes_that_the_graph_declares(name, quantization, tmp_path):
    description = described(PRESETS[name], tmp_path, quantization, 64)
    assert weight_bytes(PRESETS[name], quantization) == declared_weight_bytes(description)


@settings(max_examples=60)
@given(
    architecture=deployable_architectures,
    quantization=st.sampled_from(["fp32", "int8", "int4"]),
    context_length=st.integers(1, 40),
)
def test_bytes_of_any_architecture_equal_those_that_the_graph_declares(
    architecture, quantization, context_length, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("model")
    description = described(architecture, folder, quantization, context_length)
    assert weight_bytes(architecture, quantization) == declared_weight_bytes(description)
    assert state_bytes(architecture, context_length) == declared_state_bytes(description)


def test_half_precision_takes_half_the_bytes_of_single_precision():
    for architecture in ALL.values():
        assert 2 * weight_bytes(architecture, "fp16") == weight_bytes(architecture, "fp32")


def flops_of_steps(architecture, tokens: int) -> list[int]:
    """Return the FLOPs of each one-token step: those that torch counts, and those that it does not.

    Attention is computed by separate matrix products, because torch does not count fused attention
    on CPUs.
    """
    model = LanguageModel(architecture)
    model.initialise(0)
    states = model.initial_state(1)
    elementwise = sum(uncounted(layer.mixer, architecture.width) for layer in architecture.layers)
    flops = []
    for position in range(tokens):
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            model.step(torch.zeros(1, dtype=torch.long), states, position)
        flops.append(counter.get_total_flops() + elementwise)
    return flops


def uncounted(mixer, width: int) -> int:
    match mixer:
        case ShortConv(kernel=kernel):  # a multiply-add per tap, and two gates
            return 2 * width * kernel + 2 * width
        case LinearAttention():  # the decay
            return mixer.heads * mixer.key_dim * mixer.value_dim
        case _:
            return 0


@pytest.mark.parametrize("name", CORNERS)
def test_decode_flops_equal_those_counted_in_a_step(name):
    architecture = CORNERS[name]
    steps = flops_of_steps(architecture, 6)
    assert [decode_flops(architecture, depth) for depth in range(6)] == steps


@settings(max_examples=25)
@given(architecture=architectures())
def test_decode_flops_of_any_architecture_equal_those_counted_in_a_step(architecture):
    assert [decode_flops(architecture, depth) for depth in range(4)] == flops_of_steps(
        architecture, 4
    )


@given(
    architecture=architectures() | st.sampled_from(list(PRESETS.values())),
    tokens=st.integers(1, 40),
    depth=st.integers(0, 40),
)
def test_a_prompt_costs_as_much_as_its_tokens_but_the_head_runs_once(architecture, tokens, depth):
    one_by_one = sum(decode_flops(architecture, depth + token) for token in range(tokens))
    head = architecture.vocab_size * architecture.embedding_width
    if architecture.factorised:
        head += architecture.width * architecture.embedding_width
    assert prefill_flops(architecture, tokens, depth) == one_by_one - (tokens - 1) * 2 * head


def test_a_window_limits_state_and_flops():
    windowed = CORNERS["only windows"]  # two layers, two key heads of 16, window 4
    assert state_bytes(windowed, 3) == 2 * 2 * 3 * 2 * 16 * 4
    assert state_bytes(windowed, 4) == state_bytes(windowed, 10_000) == 2 * 2 * 4 * 2 * 16 * 4
    assert decode_flops(windowed, 2) < decode_flops(windowed, 3) == decode_flops(windowed, 10_000)
