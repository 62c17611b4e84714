"""A model's weights under the names and in the shapes of transformers, and back."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from search_space.architecture import Architecture, ShortConv
from search_space.huggingface.configuration import CUSTOM, config_of
from search_space.torch_weights import weight_shapes

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]


def to_huggingface(architecture: Architecture, weights: Weights) -> dict[str, NDArray[np.float32]]:
    """The weights as the classes that `config_of` names load them.

    They are views of those given, Gemma's norms apart; a weight that is drawn when it is asked for
    is asked for once.
    """
    model_type = str(config_of(architecture)["model_type"])
    stored: dict[str, NDArray[np.float32]] = {}
    for place in _places(architecture, model_type):
        values = weights[place.ours].reshape(place.shape)
        stored[place.theirs] = values - np.float32(1) if place.less_one else values
    return stored


def from_huggingface(
    architecture: Architecture,
    model_type: str,
    read: Callable[[str], NDArray[np.float32]],
    names: Collection[str],
    source: str,
) -> dict[str, NDArray[np.float32]]:
    """The weights by the torch model's names, read from tensors that go by those of `model_type`.

    `read` is asked for every tensor once. ValueError, one sentence that begins with `source`, names
    a tensor that is missing, has another shape, or is one too many.
    """
    shapes = weight_shapes(architecture)
    weights: dict[str, NDArray[np.float32]] = {}
    for place in _places(architecture, model_type):
        if place.theirs not in names:
            raise ValueError(f"{source}: {place.theirs} is missing")
        values = read(place.theirs)
        if values.shape != place.shape:
            raise ValueError(
                f"{source}: {place.theirs}: its shape {list(values.shape)} is not "
                f"{list(place.shape)}, as the configuration says"
            )
        values = values + np.float32(1) if place.less_one else values
        weights[place.ours] = values.reshape(shapes[place.ours])
    known = {place.theirs for place in _places(architecture, model_type)}
    for name in sorted(set(names) - known):
        _check_surplus(name, model_type, weights, read, source)
    return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a weight is kept. less_one: the class adds one to what is stored."""

    ours: str
    theirs: str
    shape: tuple[int, ...]
    less_one: bool = False


def _places(architecture: Architecture, model_type: str) -> Iterator[_Place]:
    shapes = weight_shapes(architecture)
    if model_type == CUSTOM:
        for name, shape in shapes.items():
            yield _Place(ours=name, theirs=name, shape=shape)
        return
    prefixes = _PREFIXES[model_type]
    for name, shape in shapes.items():
        if name.endswith("kernel_DW"):
            # A grouped convolution has one input channel for each output.
            theirs, shape = _moved(name, architecture, prefixes), (shape[0], 1, shape[1])
        else:
            theirs = _moved(name, architecture, prefixes)
        less_one = model_type == "gemma3_text" and name.endswith("norm.weight")
        yield _Place(ours=name, theirs=theirs, shape=shape, less_one=less_one)


def _moved(name: str, architecture: Architecture, prefixes: Mapping[str, str]) -> str:
    """`layers.3.mixer.q_proj.bias` becomes `model.layers.3.self_attn.q_proj.bias`."""
    block, _, kind = name.rpartition(".")
    if not block.startswith("layers."):
        return f"{prefixes[block]}.{kind}"
    _, index, part = block.split(".", 2)
    if kind == "kernel_DW":
        return f"model.layers.{index}.conv.conv.weight"
    if isinstance(architecture.layers[int(index)].mixer, ShortConv) and part.startswith("mixer."):
        return f"model.layers.{index}.{part.replace('mixer', 'conv')}.{kind}"
    return f"model.layers.{index}.{prefixes[part]}.{kind}"


_MODEL = {"embedding": "model.embed_tokens", "head": "lm_head", "final_norm": "model.norm"}
_ATTENTION = {
    "mixer.q_proj": "self_attn.q_proj",
    "mixer.k_proj": "self_attn.k_proj",
    "mixer.v_proj": "self_attn.v_proj",
    "mixer.out_proj": "self_attn.o_proj",
    "mixer.q_norm": "self_attn.q_norm",
    "mixer.k_norm": "self_attn.k_norm",
}
_DENSE = (
    _MODEL
    | _ATTENTION
    | {
        "mixer_norm": "input_layernorm",
        "feed_forward_norm": "post_attention_layernorm",
        "feed_forward.gate_proj": "mlp.gate_proj",
        "feed_forward.up_proj": "mlp.up_proj",
        "feed_forward.down_proj": "mlp.down_proj",
    }
)
_GEMMA3 = _DENSE | {
    "mixer_post_norm": "post_attention_layernorm",
    "feed_forward_norm": "pre_feedforward_layernorm",
    "feed_forward_post_norm": "post_feedforward_layernorm",
}
_LFM3 = (
    _MODEL
    | _ATTENTION
    | {
        "final_norm": "model.embedding_norm",
        "mixer_norm": "operator_norm",
        "mixer_post_norm": "post_operator_norm",
        "mixer.gate_proj": "self_attn.g_proj",
        "feed_forward_norm": "ffn_norm",
        "feed_forward_post_norm": "post_ffn_norm",
        "feed_forward.gate_proj": "feed_forward.w1",
        "feed_forward.up_proj": "feed_forward.w3",
        "feed_forward.down_proj": "feed_forward.w2",
    }
)
_LFM2 = _LFM3 | {
    "mixer.out_proj": "self_attn.out_proj",
    "mixer.q_norm": "self_attn.q_layernorm",
    "mixer.k_norm": "self_attn.k_layernorm",
}
_PREFIXES: Mapping[str, Mapping[str, str]] = {
    "llama": _DENSE,
    "qwen2": _DENSE,
    "qwen3": _DENSE,
    "gemma3_text": _GEMMA3,
    "lfm2": _LFM2,
    "lfm3": _LFM3,
}


def _check_surplus(
    name: str,
    model_type: str,
    weights: Weights,
    read: Callable[[str], NDArray[np.float32]],
    source: str,
) -> None:
    """Passes what older checkpoints hold twice: rotary frequencies, and the head that is tied."""
    if name.endswith("rotary_emb.inv_freq"):
        return
    if name != ("head.weight" if model_type == CUSTOM else "lm_head.weight"):
        raise ValueError(f"{source}: {name} is no weight of a {model_type} so configured")
    if not np.array_equal(read(name), weights["embedding.weight"]):
        raise ValueError(
            f"{source}: {name} differs from the embedding, and tie_word_embeddings is true"
        )
