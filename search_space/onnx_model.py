"""The language model as an ONNX file: one graph for prefill and decode, made to be deployed.

T time, D width, E embedding width, V vocabulary. `torch_model.py` has the same blocks with the same
names in the same order.
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

# The graph, in which these tables stand, is one protobuf message: of 2 GB at most.
_MOST_ROTARY_BYTES = 1_000_000_000


def write_onnx(
    architecture: Architecture,
    folder: Path,
    *,
    quantization: GraphQuantization,
    context_length: int,
    seed: int = 0,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
) -> Path:
    """Writes `model.onnx` and `model.json` into `folder`, which must exist; returns the former.

    The graph takes `tokens` (1, T) int64, `total_length` () int32 and the past state, and gives the
    `logits` (1, 1, V) of the last token and the present state. `model.json` says what a session
    needs to know: vocabulary, context length, states, and from which seed and ranges the weights
    are drawn where there is no `model.onnx.data`. Given `weights`, by the torch model's names, are
    written there.

    Raises ValueError for sizes that onnxruntime's operators or the file do not take.
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
    """
    tokens -> embedding (-> embedding_up) -> layers
           -> last token -> final_norm (-> head_down) -> head
    """
    width, narrow = architecture.width, architecture.embedding_width
    vocabulary = architecture.vocab_size
    one = graph.constant("one", np.array(1, dtype=np.int32))
    first_axis = graph.constant("first_axis", np.zeros(1, dtype=np.int64))
    last_index = graph.add("Sub", [TOTAL_LENGTH, one], "last_index")
    graph.add("Unsqueeze", [last_index, first_axis], LAST_POSITION)

    x = graph.embedding(TOKENS, "embedding", rows=vocabulary, columns=narrow)
    if architecture.factorised:
        x = graph.linear(x, "embedding_up", rows=width, columns=narrow)
    if architecture.embedding_multiplier != 1.0:
        multiplier = np.float32(architecture.embedding_multiplier).reshape(1)
        factor = graph.constant("embedding_multiplier", multiplier)
        x = graph.add("Mul", [x, factor], "embedding.multiplied")

    residual, update = x, None
    for index, layer in enumerate(architecture.layers):
        residual, update = _layer(
            graph, residual, update, f"layers.{index}", layer, architecture, context_length
        )
    x = residual if update is None else graph.add("Add", [residual, update], "layers.sum")

    newest = graph.constant("newest", np.full(1, -1, dtype=np.int64))
    x = graph.add("Gather", [x, newest], "last_token", axis=1)
    x = graph.norm(x, "final_norm", width, architecture.norm_eps)
    if architecture.factorised:
        x = graph.linear(x, "head_down", rows=narrow, columns=width)
    table = "embedding" if architecture.tied_head else "head"
    graph.linear(x, table, rows=vocabulary, columns=narrow, value="logits")

    return graph.model(
        inputs=[
            helper.make_tensor_value_info(TOKENS, TensorProto.INT64, [1, "time"]),
            helper.make_tensor_value_info(TOTAL_LENGTH, TensorProto.INT32, []),
        ],
        output=helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, vocabulary]),
    )


def _layer(
    graph: GraphWriter,
    residual: str,
    update: str | None,
    name: str,
    layer: Layer,
    architecture: Architecture,
    context_length: int,
) -> tuple[str, str]:
    """The residual stream and the update that the next norm will add to it, in one kernel."""
    if layer.mixer is not None:
        x, residual = _add_norm(graph, residual, update, f"{name}.mixer_norm", architecture)
        update = mixer_block(graph, x, f"{name}.mixer", layer.mixer, architecture, context_length)
        update = _post_norm(graph, update, f"{name}.mixer_post_norm", architecture)
    x, residual = _add_norm(graph, residual, update, f"{name}.feed_forward_norm", architecture)
    update = feed_forward(graph, x, f"{name}.feed_forward", layer.feed_forward_width, architecture)
    return residual, _post_norm(graph, update, f"{name}.feed_forward_post_norm", architecture)


def _add_norm(
    graph: GraphWriter, residual: str, update: str | None, name: str, architecture: Architecture
) -> tuple[str, str]:
    """The normed sum of both, and the sum."""
    width, eps = architecture.width, architecture.norm_eps
    if update is None:
        return graph.norm(residual, name, width, eps), residual
    weight = graph.vector(f"{name}.weight", (width,), low=0.9, high=1.1)
    total = f"{name}.sum"
    normed = graph.add(
        "SkipSimplifiedLayerNormalization",
        [residual, update, weight],
        name,
        domain=FUSED,
        outputs=[name, "", "", total],
        epsilon=eps,
    )
    return normed, total


def _post_norm(graph: GraphWriter, update: str, name: str, architecture: Architecture) -> str:
    if not architecture.sandwich_norm:
        return update
    return graph.norm(update, name, architecture.width, architecture.norm_eps)


def _check_sizes(architecture: Architecture, quantization: GraphQuantization) -> None:
    if quantization != "fp32" and architecture.embedding_width % BLOCK:
        raise ValueError(
            f"embedding_width: {architecture.embedding_width} is not a multiple of {BLOCK}, "
            f"the block in which {quantization} weights are stored"
        )
    for layer in architecture.layers:
        if isinstance(layer.mixer, Attention):
            # GroupQueryAttention's own limits; it finds out only when it runs.
            step = 16 if layer.mixer.rope_share else 8
            if layer.mixer.head_dim % step:
                raise ValueError(
                    f"head_dim: {layer.mixer.head_dim} is not a multiple of {step}, as "
                    "onnxruntime's attention operator needs it"
                )


def _check_rotary_bytes(architecture: Architecture, context_length: int) -> None:
    kinds = {
        (mixer.head_dim, mixer.rope_base, mixer.rope_share)
        for mixer in (layer.mixer for layer in architecture.layers)
        if isinstance(mixer, Attention) and mixer.rope_share
    }
    token_bytes = sum(4 * head_dim for head_dim, _, _ in kinds)
    if context_length * token_bytes > _MOST_ROTARY_BYTES:
        raise ValueError(
            f"context_length: {context_length:,} is above {_MOST_ROTARY_BYTES // token_bytes:,}, "
            "for which the graph of this model has room in its rotary tables"
        )


def _write_data(graph: GraphWriter, path: Path) -> None:
    with path.open("wb") as file:
        for name, value in graph.values.items():
            assert value.shape == graph.weights[name].shape, name
            assert value.dtype == graph.weights[name].dtype, name
            file.seek(graph.weights[name].offset)
            file.write(np.ascontiguousarray(value).data)
        file.truncate(graph.data_bytes)
