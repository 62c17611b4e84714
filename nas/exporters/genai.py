"""Adapts an exported ONNX model to onnxruntime-genai: a second graph that uses the same weights.

onnxruntime-genai names inputs and outputs by templates such as `past_key_values.%d.key`, counts
tokens in an `attention_mask`, and has three kinds of states: keys and values, which grow,
convolution states, and the memories of linear attention. Convolution states and memories come in
pairs. All convolution states must have one shape, and so must all memories, but the graph may use
them in any layer. Each kind is therefore numbered separately, and unused states complete the pairs
if a model has more states of one kind than of the other.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

import onnx
from onnx import TensorProto, helper

from search_space.architecture import Architecture, Attention, LinearAttention, Mixer, ShortConv
from search_space.onnx_blocks import TOKENS, TOTAL_LENGTH

GRAPH_FILE = "genai.onnx"
GENAI_CONFIG_FILE = "genai_config.json"

_MASK = "attention_mask"
_PAST = {
    "past_key_names": "past_key_values.%d.key",
    "past_value_names": "past_key_values.%d.value",
    "past_conv_names": "past.%d.conv",
    "past_recurrent_names": "past.%d.recurrent",
}
_PRESENT = {
    "present_key_names": "present.%d.key",
    "present_value_names": "present.%d.value",
    "present_conv_names": "present.%d.conv",
    "present_recurrent_names": "present.%d.recurrent",
}


_StateKind: TypeAlias = Literal["keys and values", "conv", "recurrent"]

# The kinds of states that must have the same sizes in all layers.
_REQUIRED_SAME: Mapping[_StateKind, str] = {
    "conv": "the same kernel size in all convolutions",
    "recurrent": "states of the same shape in all layers of linear attention",
}


@dataclass(frozen=True, slots=True)
class _State:
    """The state of a mixer as onnxruntime-genai sees it.

    Attributes:
        kind: The kind of the state.
        sizes: The sizes that onnxruntime-genai requires to be the same in all layers, if any.
    """

    kind: _StateKind
    sizes: tuple[int, ...] = ()


def unsupported_by_genai(architecture: Architecture) -> str | None:
    """Return why onnxruntime-genai cannot run an architecture, as a clause; None if it can."""
    states = {_state_of(layer.mixer) for layer in architecture.layers}
    for kind, requirement in _REQUIRED_SAME.items():
        if sum(state is not None and state.kind == kind for state in states) > 1:
            return f"onnxruntime-genai requires {requirement}"
    return None


def write_genai(
    architecture: Architecture,
    model: Path,
    *,
    context_length: int,
    end_token: int | None,
) -> None:
    """Write `genai.onnx` and `genai_config.json` next to a model.

    The graph shares the data file of the model. It differs in its inputs and in the caches of
    windows: those of onnxruntime-genai hold the whole context, so that a window is only a mask.

    Args:
        architecture: The architecture, which onnxruntime-genai must support.
        model: The graph that `write_onnx` has written.
        context_length: The maximum context length, in tokens.
        end_token: The id of the token at which generation stops; None selects the last token of the
            vocabulary.
    """
    assert unsupported_by_genai(architecture) is None
    adapted = onnx.load(model, load_external_data=False)
    _rename(adapted.graph, _names(architecture))
    _count_tokens_in_mask(adapted.graph)
    _enlarge_window_caches(adapted.graph)
    _complete_pairs(adapted.graph)
    (model.parent / GRAPH_FILE).write_bytes(adapted.SerializeToString())
    config = _config(architecture, context_length, end_token)
    (model.parent / GENAI_CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")


def _names(architecture: Architecture) -> dict[str, str]:
    """Return the new names of inputs and outputs by their names in the model."""
    names = {TOKENS: "input_ids"}
    counts = {"key": 0, "value": 0, "conv": 0, "recurrent": 0}

    def name(state: str, kind: str) -> None:
        names[f"past.{state}"] = _PAST[f"past_{kind}_names"] % counts[kind]
        names[f"present.{state}"] = _PRESENT[f"present_{kind}_names"] % counts[kind]
        counts[kind] += 1

    for index, layer in enumerate(architecture.layers):
        block = f"layers.{index}.mixer"
        state = _state_of(layer.mixer)
        if state is None:
            continue
        match state.kind:
            case "keys and values":
                name(f"{block}.key", "key")
                name(f"{block}.value", "value")
            case "conv" | "recurrent":
                name(block, state.kind)
            case _:
                assert_never(state.kind)
    return names


def _state_of(mixer: Mixer | None) -> _State | None:
    """Return the state of a mixer; None if it has none."""
    match mixer:
        case Attention():
            return _State("keys and values")
        case ShortConv(kernel=kernel):
            return _State("conv", (kernel,)) if kernel > 1 else None
        case LinearAttention():
            return _State("recurrent", (mixer.heads, mixer.key_dim, mixer.value_dim))
        case None:
            return None
        case _:
            assert_never(mixer)


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(value, value) for value in node.input]
        node.output[:] = [names.get(value, value) for value in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)


def _count_tokens_in_mask(graph: onnx.GraphProto) -> None:
    """Replace the input `total_length` by the length of a mask with one entry per token."""
    kept = [value for value in graph.input if value.name != TOTAL_LENGTH]
    mask = helper.make_tensor_value_info(_MASK, TensorProto.INT64, [1, "total"])
    nodes = [
        helper.make_node("Shape", [_MASK], ["mask_length"], start=1),
        helper.make_node("Squeeze", ["mask_length"], ["mask_tokens"]),
        helper.make_node("Cast", ["mask_tokens"], [TOTAL_LENGTH], to=TensorProto.INT32),
        *graph.node,
    ]
    del graph.input[:], graph.node[:]
    graph.input.extend([kept[0], mask, *kept[1:]])
    graph.node.extend(nodes)


def _enlarge_window_caches(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "sliding_window_cache":
                attribute.i = 0
    for value in (*graph.input, *graph.output):
        if value.name.endswith((".key", ".value")):
            value.type.tensor_type.shape.dim[2].dim_param = "capacity"


def _complete_pairs(graph: onnx.GraphProto) -> None:
    shapes = {"conv": [1, 1, 1], "recurrent": [1, 1, 1, 1]}
    counts = dict.fromkeys(shapes, 0)
    for value in graph.input:
        kind = value.name.rpartition(".")[2]
        if kind in shapes:
            shapes[kind] = [extent.dim_value for extent in value.type.tensor_type.shape.dim]
            counts[kind] += 1
    for kind, shape in shapes.items():
        for index in range(counts[kind], max(counts.values())):
            past = _PAST[f"past_{kind}_names"] % index
            present = _PRESENT[f"present_{kind}_names"] % index
            graph.input.append(helper.make_tensor_value_info(past, TensorProto.FLOAT, shape))
            graph.output.append(helper.make_tensor_value_info(present, TensorProto.FLOAT, shape))
            graph.node.append(helper.make_node("Identity", [past], [present]))


def _config(
    architecture: Architecture, context_length: int, end_token: int | None
) -> dict[str, object]:
    mixers = [layer.mixer for layer in architecture.layers]
    attention = [mixer for mixer in mixers if isinstance(mixer, Attention)]
    # If layers differ or there is no attention, the shapes in the graph are used instead.
    first = attention[0] if attention else Attention(heads=1, kv_heads=1, head_dim=2)
    # onnxruntime-genai requires an end-of-text token.
    end = architecture.vocab_size - 1 if end_token is None else end_token
    return {
        "model": {
            "type": "decoder",
            "vocab_size": architecture.vocab_size,
            "context_length": context_length,
            "bos_token_id": end,  # also required
            "eos_token_id": [end],
            "pad_token_id": end,
            "decoder": {
                "filename": GRAPH_FILE,
                "session_options": {"provider_options": []},
                "hidden_size": architecture.width,
                "num_hidden_layers": len(attention),
                "num_attention_heads": first.heads,
                "num_key_value_heads": first.kv_heads,
                "head_size": first.head_dim,
                "inputs": {"input_ids": "input_ids", _MASK: _MASK, **_PAST},
                "outputs": {"logits": "logits", **_PRESENT},
            },
        },
        "search": {
            "do_sample": False,
            "max_length": context_length,
            "past_present_share_buffer": True,
        },
    }
