"""The language model as an ONNX file for deployment, with one graph for prefill and decode.

`torch_model.py` contains the same parts, with the same names in the same order. Variables hold the
names of values in the graph.

Shape suffixes: B batch (always 1), T time, D width, E embedding width, V vocabulary.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from search_space.architecture import Architecture, Attention, Layer
from search_space.onnx_blocks import (
    LAST_POSITION,
    TOKENS,
    TOTAL_LENGTH,
    feed_forward,
    mixer_block,
)
from search_space.onnx_graph import DATA_FILE, FUSED, GraphQuantization, GraphWriter
from search_space.quantization import BLOCK

MODEL_FILE = "model.onnx"
DESCRIPTION_FILE = "model.json"

# The graph, which contains the rotary tables, is one protobuf message, of at most 2 GB.
_MAX_ROTARY_BYTES = 1_000_000_000


def write_onnx(
    architecture: Architecture,
    folder: Path,
    *,
    quantization: GraphQuantization,
    context_length: int,
    seed: int = 0,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
) -> Path:
    """Write a model as `model.onnx` and `model.json`, and given weights as `model.onnx.data`.

    The graph takes `tokens` (1, T) int64, `total_length` () int32 and the past states. It returns
    the `logits` (1, 1, V) of the last token and the present states. `model.json` describes what a
    session needs to know: vocabulary, context length, states, and the seed and the ranges from
    which weights are drawn if there is no `model.onnx.data`.

    Args:
        architecture: The architecture of the model.
        folder: The folder to write into, which must exist.
        quantization: The quantisation of matrices.
        context_length: The maximum number of tokens that a cache holds.
        seed: The seed of weights that are drawn where the file is run.
        weights: The weights by their names in the torch model.

    Returns:
        The path of `model.onnx`.

    Raises:
        ValueError: A size is not supported by onnxruntime's operators or by the file format.
    """
    _check_sizes(architecture, quantization)
    _check_rotary_bytes(architecture, context_length)
    graph = GraphWriter(quantization=quantization, given=weights)
    model = _language_model(graph, architecture, context_length)
    if weights is not None:
        _write_data(graph, folder / DATA_FILE)
    path = folder / MODEL_FILE
    path.write_bytes(model.SerializeToString())
    description = {
        "vocab_size": architecture.vocab_size,
        "context_length": context_length,
        "seed": seed,
        "states": [dataclasses.asdict(state) for state in graph.states],
        "weights": [dataclasses.asdict(weight) for weight in graph.weights.values()],
        "data_bytes": graph.data_bytes,
    }
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description))
    return path


def _language_model(
    graph: GraphWriter, architecture: Architecture, context_length: int
) -> onnx.ModelProto:
    """Build the graph.

    tokens -> embedding (-> embedding_up) -> layers
           -> last token -> final_norm (-> head_down) -> head -> logits
    """
    width, embedding_width = architecture.width, architecture.embedding_width
    vocabulary = architecture.vocab_size
    one = graph.constant("one", np.array(1, dtype=np.int32))
    first_axis = graph.constant("first_axis", np.zeros(1, dtype=np.int64))
    last_index = graph.add("Sub", [TOTAL_LENGTH, one], "last_index")
    graph.add("Unsqueeze", [last_index, first_axis], LAST_POSITION)

    x_BTE = graph.embedding(TOKENS, "embedding", rows=vocabulary, columns=embedding_width)
    x_BTD = x_BTE
    if architecture.factorised:
        x_BTD = graph.linear(x_BTE, "embedding_up", rows=width, columns=embedding_width)
    if architecture.embedding_multiplier != 1.0:
        multiplier = np.float32(architecture.embedding_multiplier).reshape(1)
        factor = graph.constant("embedding_multiplier", multiplier)
        x_BTD = graph.add("Mul", [x_BTD, factor], "embedding.multiplied")

    residual_BTD, update_BTD = x_BTD, None
    for index, layer in enumerate(architecture.layers):
        residual_BTD, update_BTD = _layer(
            graph, residual_BTD, update_BTD, f"layers.{index}", layer, architecture, context_length
        )
    x_BTD = residual_BTD
    if update_BTD is not None:
        x_BTD = graph.add("Add", [residual_BTD, update_BTD], "layers.sum")

    newest = graph.constant("newest", np.full(1, -1, dtype=np.int64))
    x_B1D = graph.add("Gather", [x_BTD, newest], "last_token", axis=1)
    x_B1D = graph.norm(x_B1D, "final_norm", width, architecture.norm_eps)
    y_B1E = x_B1D
    if architecture.factorised:
        y_B1E = graph.linear(x_B1D, "head_down", rows=embedding_width, columns=width)
    table = "embedding" if architecture.tied_head else "head"
    graph.linear(y_B1E, table, rows=vocabulary, columns=embedding_width, value="logits")

    return graph.model(
        inputs=[
            helper.make_tensor_value_info(TOKENS, TensorProto.INT64, [1, "time"]),
            helper.make_tensor_value_info(TOTAL_LENGTH, TensorProto.INT32, []),
        ],
        output=helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, vocabulary]),
    )


def _layer(
    graph: GraphWriter,
    residual_BTD: str,
    update_BTD: str | None,
    name: str,
    layer: Layer,
    architecture: Architecture,
    context_length: int,
) -> tuple[str, str]:
    """Add a layer; return the residual stream and the update that the next norm will add to it.

    One fused kernel adds the update and computes the norm.
    """
    if layer.mixer is not None:
        x_BTD, residual_BTD = _add_norm(
            graph, residual_BTD, update_BTD, f"{name}.mixer_norm", architecture
        )
        update_BTD = mixer_block(
            graph, x_BTD, f"{name}.mixer", layer.mixer, architecture, context_length
        )
        update_BTD = _post_norm(graph, update_BTD, f"{name}.mixer_post_norm", architecture)
    x_BTD, residual_BTD = _add_norm(
        graph, residual_BTD, update_BTD, f"{name}.feed_forward_norm", architecture
    )
    update_BTD = feed_forward(
        graph, x_BTD, f"{name}.feed_forward", layer.feed_forward_width, architecture
    )
    update_BTD = _post_norm(graph, update_BTD, f"{name}.feed_forward_post_norm", architecture)
    return residual_BTD, update_BTD


def _add_norm(
    graph: GraphWriter,
    residual_BTD: str,
    update_BTD: str | None,
    name: str,
    architecture: Architecture,
) -> tuple[str, str]:
    """Add the update to the residual stream; return the norm of the sum, and the sum."""
    width, eps = architecture.width, architecture.norm_eps
    if update_BTD is None:
        return graph.norm(residual_BTD, name, width, eps), residual_BTD
    weight_D = graph.vector(f"{name}.weight", (width,), low=0.9, high=1.1)
    sum_BTD = f"{name}.sum"
    normed_BTD = graph.add(
        "SkipSimplifiedLayerNormalization",
        [residual_BTD, update_BTD, weight_D],
        name,
        domain=FUSED,
        outputs=[name, "", "", sum_BTD],
        epsilon=eps,
    )
    return normed_BTD, sum_BTD


def _post_norm(graph: GraphWriter, update_BTD: str, name: str, architecture: Architecture) -> str:
    if not architecture.sandwich_norm:
        return update_BTD
    return graph.norm(update_BTD, name, architecture.width, architecture.norm_eps)


def _check_sizes(architecture: Architecture, quantization: GraphQuantization) -> None:
    if quantization != "fp32" and architecture.embedding_width % BLOCK:
        raise ValueError(
            f"embedding_width: {architecture.embedding_width} is not a multiple of {BLOCK}, "
            f"the block size of {quantization} weights"
        )
    for layer in architecture.layers:
        if isinstance(layer.mixer, Attention):
            # Limits of GroupQueryAttention, which it checks only when it runs.
            step = 16 if layer.mixer.rope_share else 8
            if layer.mixer.head_dim % step:
                raise ValueError(
                    f"head_dim: {layer.mixer.head_dim} is not a multiple of {step}, which "
                    "onnxruntime's attention operator requires"
                )


def _check_rotary_bytes(architecture: Architecture, context_length: int) -> None:
    kinds = {
        (mixer.head_dim, mixer.rope_base, mixer.rope_share)
        for mixer in (layer.mixer for layer in architecture.layers)
        if isinstance(mixer, Attention) and mixer.rope_share
    }
    token_bytes = sum(4 * head_dim for head_dim, _, _ in kinds)
    if context_length * token_bytes > _MAX_ROTARY_BYTES:
        raise ValueError(
            f"context_length: {context_length:,} is above {_MAX_ROTARY_BYTES // token_bytes:,}, "
            "the maximum for which this model's rotary tables fit into an ONNX graph"
        )


def _write_data(graph: GraphWriter, path: Path) -> None:
    with path.open("wb") as file:
        for name, value in graph.values.items():
            assert value.shape == graph.weights[name].shape, name
            assert value.dtype == graph.weights[name].dtype, name
            file.seek(graph.weights[name].offset)
            file.write(np.ascontiguousarray(value).data)
        file.truncate(graph.data_bytes)
