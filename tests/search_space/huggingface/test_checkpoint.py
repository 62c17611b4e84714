"""Weights of transformers folders: conversion both ways, and what is refused."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from search_space.architecture import Architecture
from search_space.huggingface.checkpoint import read_weights
from search_space.huggingface.configuration import config_of
from search_space.huggingface.weights import from_huggingface, to_huggingface
from search_space.torch_model import InitialWeights
from tests.search_space.strategies import ATTENTION, CONV, CORNERS, architectures, stack

QWEN = stack(ATTENTION, ATTENTION)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config_of(QWEN)))
    save_file(to_huggingface(QWEN, InitialWeights(QWEN, seed=1)), tmp_path / "model.safetensors")
    return tmp_path


def rewrite(folder: Path, **changes: NDArray[np.generic] | None) -> None:
    """Replace the tensors of the given names, or delete them."""
    tensors = {**load_file(folder / "model.safetensors"), **changes}
    kept = {name: values for name, values in tensors.items() if values is not None}
    save_file(kept, folder / "model.safetensors")


def mistake_in(folder: Path, architecture: Architecture = QWEN) -> str:
    with pytest.raises(ValueError) as mistake:  # noqa: PT011 - callers check the text
        read_weights(folder, architecture)
    assert "\n" not in str(mistake.value)
    return str(mistake.value)


def comes_back(architecture: Architecture) -> bool:
    weights = dict(InitialWeights(architecture, seed=1))
    stored = to_huggingface(architecture, weights)
    model_type = str(config_of(architecture)["model_type"])
    back = from_huggingface(architecture, model_type, stored.__getitem__, stored.keys(), "here")
    return back.keys() == weights.keys() and all(
        np.allclose(back[name], weights[name], atol=1e-7) for name in weights
    )


@pytest.mark.parametrize("name", CORNERS)
def test_weights_come_back_by_name(name: str) -> None:
    assert comes_back(CORNERS[name])


@given(architectures())
@settings(max_examples=50)
def test_weights_of_any_architecture_come_back(architecture: Architecture) -> None:
    assert comes_back(architecture)


def test_bfloat16_is_read_as_equal_float32_values(folder: Path) -> None:
    name = "model.embed_tokens.weight"
    halved = load_file(folder / "model.safetensors")[name].astype(ml_dtypes.bfloat16)
    rewrite(folder, **{name: halved})
    found = read_weights(folder, QWEN)["embedding.weight"]
    assert found.dtype == np.float32
    assert np.array_equal(found, halved.astype(np.float32))


def test_a_checkpoint_in_several_files_is_read(folder: Path) -> None:
    whole = read_weights(folder, QWEN)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, folder / file)
    index = {name: file for file, held in parts.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    found = read_weights(folder, QWEN)
    assert all(np.array_equal(found[name], whole[name]) for name in whole)


@pytest.mark.parametrize("file", ["../model.safetensors", "/model.safetensors", "..", "a.bin"])
def test_an_index_that_leaves_the_folder_is_refused(folder: Path, file: str) -> None:
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    index = {"weight_map": {"model.norm.weight": file}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "is not the name of a safetensors file in the same folder" in mistake_in(folder)


def test_an_index_with_a_missing_tensor_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    index = {"weight_map": {"other.weight": "part.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert mistake_in(folder).endswith("other.weight is not in part.safetensors")


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.pt"])
def test_a_pickle_is_refused_with_a_way_to_convert_it(folder: Path, pickle: str) -> None:
    (folder / "model.safetensors").rename(folder / pickle)
    mistake = mistake_in(folder)
    assert f"{pickle} is a pickle" in mistake
    assert "save_pretrained" in mistake


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert mistake_in(folder).endswith("model.safetensors is missing")


def test_a_single_file_takes_precedence_over_an_index_of_an_earlier_training(folder: Path) -> None:
    now = read_weights(folder, QWEN)
    earlier = to_huggingface(QWEN, InitialWeights(QWEN, seed=2))
    save_file(earlier, folder / "part.safetensors")
    index = {"weight_map": dict.fromkeys(earlier, "part.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    found = read_weights(folder, QWEN)
    assert all(np.array_equal(found[name], now[name]) for name in now)


def test_a_truncated_file_is_refused(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-8])
    assert "is not a safetensors file" in mistake_in(folder)


def test_a_different_architecture_is_refused(folder: Path) -> None:
    assert "its architecture is" in mistake_in(folder, stack(ATTENTION))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model.norm.weight": None}, "model.norm.weight is missing"),
        (
            {"model.norm.weight": np.zeros(31, np.float32)},
            "model.norm.weight: its shape [31] is not [32], which the configuration requires",
        ),
        (
            {"model.norm.weight": np.full(32, np.nan, np.float16)},
            "model.norm.weight contains a value that is not finite in float32",
        ),
        (
            {"model.norm.weight": np.zeros(32, np.int8)},
            "model.norm.weight: its type I8 is not one of F64, F32, F16, BF16",
        ),
        (
            {"score.weight": np.zeros(3, np.float32)},
            "score.weight is not a weight of a qwen3 model with this configuration",
        ),
        (
            {"lm_head.weight": np.zeros((64, 32), np.float32)},
            "lm_head.weight differs from the embedding although tie_word_embeddings is true",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    folder: Path, changes: dict[str, NDArray[np.generic] | None], sentence: str
) -> None:
    rewrite(folder, **changes)
    assert mistake_in(folder) == f"{folder}: {sentence}"


def test_redundant_tensors_of_older_checkpoints_are_ignored(folder: Path) -> None:
    before = read_weights(folder, QWEN)
    rewrite(
        folder,
        **{
            "lm_head.weight": before["embedding.weight"],
            "model.layers.0.self_attn.rotary_emb.inv_freq": np.zeros(8, np.float32),
        },
    )
    assert read_weights(folder, QWEN).keys() == before.keys()


def test_gemmas_norms_are_stored_minus_one() -> None:
    gemma = stack(
        ATTENTION, sandwich_norm=True, activation="gelu_tanh", embedding_multiplier=32**0.5
    )
    assert config_of(gemma)["model_type"] == "gemma3_text"
    stored = to_huggingface(gemma, InitialWeights(gemma, seed=1))
    norms = [values for name, values in stored.items() if "norm" in name]
    assert len(norms) == 7
    assert all((values == 0.0).all() for values in norms)


def test_a_kernel_is_stored_as_a_grouped_convolution() -> None:
    lfm3 = stack(CONV, ATTENTION)
    stored = to_huggingface(lfm3, InitialWeights(lfm3, seed=1))
    assert stored["model.layers.0.conv.conv.weight"].shape == (32, 1, 3)
