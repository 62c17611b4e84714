"""Damaged safetensors files and indexes: each is read or refused with one sentence."""

import json
import struct
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from search_space.huggingface.configuration import config_of
from search_space.huggingface.weights import to_huggingface
from search_space.torch_model import InitialWeights
from tests.fuzz.damage import damaged_bytes, damaged_data, json_files
from tests.fuzz.outcomes import SAMPLE, THOUSANDS, damaged_folder, exit_code
from tests.search_space.strategies import ATTENTION, CONV, stack

_SMALL = stack(CONV, ATTENTION, vocab_size=32, width=32, embedding_width=32)
_SHARD = "model-00001-of-00001.safetensors"
_EXPORT = ("export", "model", "--format", "hf", "--context", "16", "-o", "out")


@cache
def content() -> bytes:
    """The file of a small model."""
    return save(to_huggingface(_SMALL, InitialWeights(_SMALL, 0)), {"format": "pt"})


def header(file: bytes) -> dict[str, Any]:
    length = struct.unpack("<Q", file[:8])[0]
    found: dict[str, Any] = json.loads(file[8 : 8 + length])
    return found


@st.composite
def weight_files(draw: st.DrawFn) -> bytes:
    """Draw a file with a damaged header, and perhaps with a wrong length of it."""
    file = content()
    tensors = file[8 + struct.unpack("<Q", file[:8])[0] :]
    text = json.dumps(draw(damaged_data([header(file)]))).encode()
    length = draw(st.sampled_from([len(text)] * 5 + [0, 1, len(text) + 1, 10**8, 2**63]))
    return draw(damaged_bytes(struct.pack("<Q", length) + text + tensors))


def indexes() -> list[Any]:
    names = [name for name in header(content()) if name != "__metadata__"]
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, _SHARD)}
    outside = dict.fromkeys(names, f"../{_SHARD}")
    return [index, index, {"metadata": {}, "weight_map": outside}]


def check_weights(file: bytes) -> None:
    with damaged_folder() as folder:
        (folder / "model").mkdir()
        (folder / "model/config.json").write_text(json.dumps(config_of(_SMALL)))
        (folder / "model/model.safetensors").write_bytes(file)
        exit_code(folder, *_EXPORT)


def check_index(index: bytes) -> None:
    with damaged_folder() as folder:
        (folder / "model").mkdir()
        (folder / "model/config.json").write_text(json.dumps(config_of(_SMALL)))
        (folder / "model/model.safetensors.index.json").write_bytes(index)
        for place in (folder / _SHARD, folder / "model" / _SHARD):
            place.write_bytes(content())
        exit_code(folder, *_EXPORT)


@SAMPLE
@given(file=weight_files())
def test_a_damaged_safetensors_file_gives_one_sentence(file: bytes) -> None:
    check_weights(file)


@SAMPLE
@given(index=json_files(indexes()))
def test_a_damaged_index_gives_one_sentence(index: bytes) -> None:
    check_index(index)


@pytest.mark.slow
@THOUSANDS
@given(file=weight_files())
def test_more_than_a_thousand_damaged_safetensors_files_give_one_sentence(file: bytes) -> None:
    check_weights(file)


@pytest.mark.slow
@THOUSANDS
@given(index=json_files(indexes()))
def test_more_than_a_thousand_damaged_indexes_give_one_sentence(index: bytes) -> None:
    check_index(index)


def test_what_the_tests_damage_is_accepted() -> None:
    with damaged_folder() as folder:
        (folder / "model").mkdir()
        (folder / "model/config.json").write_text(json.dumps(config_of(_SMALL)))
        (folder / "model/model.safetensors").write_bytes(content())
        assert exit_code(folder, *_EXPORT) == 0
