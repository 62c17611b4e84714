"""Greedy decoding in onnxruntime-genai against the torch model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime_genai as genai
import pytest
import torch

from nas.exporters.genai import GENAI_CONFIG_FILE, unsupported_by_genai
from nas.exporters.onnx_folder import write_onnx_folder
from search_space.architecture import Architecture, LinearAttention, ShortConv
from search_space.preset_models import preset
from search_space.proxy import proxy_of
from search_space.torch_model import LanguageModel, weights_of
from tests.search_space.strategies import ATTENTION, CONV, CORNERS, LINEAR, stack

PROMPT = (3, 1, 4, 1, 5)
TOKENS = 16
SMALL_PRESETS = {
    name: proxy_of(preset(name), 0.02, window_share=0.02)
    for name in ("lfm2-350m", "lfm3-1.7b", "gemma-3-270m", "qwen2.5-0.5b", "llama-3.2-1b")
}


def trained(architecture: Architecture) -> LanguageModel:
    """Return a model whose last token, at which genai stops, is never the most likely one."""
    model = LanguageModel(architecture)
    model.initialise(1)
    with torch.no_grad():
        table = model.embedding.weight if model.head is None else model.head.weight
        table[-1] = 0.0
    return model


@torch.no_grad()
def greedy(model: LanguageModel, prompt: tuple[int, ...]) -> list[int]:
    tokens = list(prompt)
    states = model.initial_state(1)
    for position in range(len(prompt) + TOKENS - 1):
        logits = model.step(torch.tensor([tokens[position]]), states, position)
        if position == len(tokens) - 1:
            tokens.append(int(logits.argmax()))
    return tokens


def write(model: LanguageModel, folder: Path, **options: object) -> str | None:
    wanted = {"quantization": "fp32", "context_length": 64, "tokenizer": None, "end_token": None}
    wanted |= {"weights_origin": "random weights"}
    return write_onnx_folder(model.architecture, weights_of(model), folder, **wanted | options)


def generate(folder: Path, *pieces: tuple[int, ...]) -> list[int]:
    """Generate from a prompt that is appended in pieces, as in a conversation."""
    config = json.loads((folder / GENAI_CONFIG_FILE).read_text())
    # Synchronising several threads takes longer than such a small model.
    config["model"]["decoder"]["session_options"]["intra_op_num_threads"] = 1
    (folder / GENAI_CONFIG_FILE).write_text(json.dumps(config))
    loaded = genai.Model(str(folder))
    settings = genai.GeneratorParams(loaded)
    settings.set_search_options(max_length=sum(map(len, pieces)) + TOKENS)
    generator = genai.Generator(loaded, settings)
    for piece in pieces:
        generator.append_tokens(np.array(piece, dtype=np.int32))
    while not generator.is_done():
        generator.generate_next_token()
    return [int(token) for token in generator.get_sequence(0)]


@pytest.mark.parametrize("name", [*CORNERS, *SMALL_PRESETS])
def test_it_generates_the_tokens_of_the_torch_model(name: str, tmp_path: Path) -> None:
    model = trained((CORNERS | SMALL_PRESETS)[name])
    assert write(model, tmp_path) is None
    assert generate(tmp_path, PROMPT) == greedy(model, PROMPT)


def test_states_persist_between_the_pieces_of_a_prompt(tmp_path: Path) -> None:
    # The kernel spans all pieces.
    model = trained(stack(ShortConv(kernel=40), LINEAR, ATTENTION, LINEAR))
    write(model, tmp_path)
    assert generate(tmp_path, PROMPT[:1], PROMPT[1:3], PROMPT[3:]) == greedy(model, PROMPT)


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_both_graphs_of_a_quantised_model_share_one_data_file(
    quantization: str, tmp_path: Path
) -> None:
    model = trained(stack(CONV, ATTENTION, LINEAR, vocab_size=512, width=64, embedding_width=64))
    write(model, tmp_path, quantization=quantization)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [
        "README.md",
        "genai.onnx",
        "genai_config.json",
        "model.json",
        "model.onnx",
        "model.onnx.data",
    ]
    assert len(generate(tmp_path, PROMPT)) == len(PROMPT) + TOKENS


def test_it_stops_at_the_end_token_of_the_tokenizer(tmp_path: Path) -> None:
    model = trained(stack(CONV, ATTENTION))
    expected = greedy(model, PROMPT)
    end = expected[len(PROMPT) + 3]
    write(model, tmp_path, end_token=end)
    assert generate(tmp_path, PROMPT) == expected[: expected.index(end, len(PROMPT))]


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        (
            stack(CONV, ShortConv(kernel=5)),
            "onnxruntime-genai requires the same kernel size in all convolutions",
        ),
        (
            stack(LINEAR, LinearAttention(heads=2, key_dim=8, value_dim=8)),
            "onnxruntime-genai requires states of the same shape in all layers of linear attention",
        ),
    ],
)
def test_an_unsupported_architecture_is_exported_without_genai_files(
    architecture: Architecture, reason: str, tmp_path: Path
) -> None:
    assert unsupported_by_genai(architecture) == reason
    model = trained(architecture)
    assert write(model, tmp_path) == reason
    assert not (tmp_path / GENAI_CONFIG_FILE).exists()
    assert (tmp_path / "model.onnx").exists()


def test_heads_and_windows_may_differ_between_layers(tmp_path: Path) -> None:
    mixers = (ATTENTION, replace(ATTENTION, kv_heads=4, head_dim=32, window=3), ATTENTION)
    model = trained(stack(*mixers))
    assert write(model, tmp_path) is None
    assert generate(tmp_path, PROMPT) == greedy(model, PROMPT)
