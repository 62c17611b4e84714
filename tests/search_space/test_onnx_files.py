"""Exported graphs are recognised, and damaged ones are refused with one sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from search_space.onnx_files import check_graph, read_description
from search_space.onnx_model import write_onnx
from search_space.torch_model import InitialWeights
from tests.search_space.strategies import ATTENTION, CONV, LINEAR, stack

SMALL = stack(CONV, ATTENTION, LINEAR)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    weights = InitialWeights(SMALL, 0)
    return write_onnx(SMALL, tmp_path, quantization="fp32", context_length=32, weights=weights)


def test_what_the_program_writes_is_accepted(graph: Path) -> None:
    described = read_description(graph.with_name("model.json"))
    assert (described.vocab_size, described.context_length) == (64, 32)
    check_graph(graph, described)
    graph.with_name("model.onnx.data").unlink()  # its weights are drawn where the file is run
    check_graph(graph, described)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("context_length", "x", "context_length: 'x' is not a whole number"),
        ("context_length", 0, "context_length: 0 is not at least 1"),
        ("data_bytes", -1, "data_bytes: -1 is not at least 0"),
        ("seed", -1, "seed: -1 is negative"),
        ("states", {}, "states: {} is not a list"),
        ("weights", [{"name": 3}], "weights[0].name: 3 is not text"),
    ],
)
def test_a_wrong_field_of_a_description_is_named(
    field: str, value: object, sentence: str, graph: Path
) -> None:
    path = graph.with_name("model.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is checked below
        read_description(path)
    assert str(caught.value) == f"{path}: not a model description: {sentence}"


def test_a_negative_size_in_a_description_is_refused(graph: Path) -> None:
    path = graph.with_name("model.json")
    for part in ("states", "weights"):
        described = json.loads(path.read_text())
        described[part][0]["shape"] = [-1]
        path.with_name("changed.json").write_text(json.dumps(described))
        with pytest.raises(ValueError, match=rf"{part}\[0\]\.shape: \[-1\] contains a negative"):
            read_description(path.with_name("changed.json"))


def test_a_deeply_nested_description_is_refused(graph: Path) -> None:
    path = graph.with_name("model.json")
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested more than 32 levels"):
        read_description(path)


def changed(change: Callable[[onnx.ModelProto], Any]) -> Callable[[bytes], bytes]:
    def apply(content: bytes) -> bytes:
        model = onnx.ModelProto.FromString(content)
        change(model)
        written: bytes = model.SerializeToString()
        return written

    return apply


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda _: b"", "has no input 'past."),
        (lambda _: b"garbage" * 9, "is not an ONNX file, or is damaged"),
        (lambda content: content[:2_000], "is not an ONNX file, or is damaged"),
        (lambda content: content.replace(b"total_l", b"total_\xff", 1), "no earlier node computes"),
        (changed(lambda model: model.graph.input.pop(0)), "has no input 'tokens'"),
        (changed(lambda model: model.graph.output.pop(0)), "has no output 'logits'"),
        (changed(lambda model: model.graph.node.pop(3)), "which no earlier node computes"),
    ],
)
def test_a_damaged_graph_is_refused(
    damage: Callable[[bytes], bytes], sentence: str, graph: Path
) -> None:
    described = read_description(graph.with_name("model.json"))
    graph.write_bytes(damage(graph.read_bytes()))
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is checked below
        check_graph(graph, described)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(str(graph))


def test_a_data_file_that_is_too_short_is_refused(graph: Path) -> None:
    described = read_description(graph.with_name("model.json"))
    graph.with_name("model.onnx.data").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"its size of 1 bytes is below the [\d,]+ bytes"):
        check_graph(graph, described)
