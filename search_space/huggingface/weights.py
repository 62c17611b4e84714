"""Converts weights to the names and shapes of transformers and back."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from search_space.architecture import Architecture, ShortConv
from search_space.huggingface.configuration import CUSTOM, config_of
from search_space.torch_model import weight_shapes

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]


def to_huggingface(architecture: Architecture, weights: Weights) -> dict[str, NDArray[np.float32]]:
    """Return weights as the class that `config_of` names loads them.

    Args:
        architecture: The architecture that the weights are for.
        weights: The weights by their names in the torch model; each is accessed once.

    Returns:
        The weights by their names in transformers. They are views of the given weights, except for
        Gemma's norms.
    """
    model_type = str(config_of(architecture)["model_type"])
    tensors: dict[str, NDArray[np.float32]] = {}
    for stored in _stored_weights(architecture, model_type):
        values = weights[stored.weight].reshape(stored.shape)
        tensors[stored.tensor] = values - np.float32(1) if stored.minus_one else values
    return tensors


def from_huggingface(
    architecture: Architecture,
    model_type: str,
    read: Callable[[str], NDArray[np.float32]],
    names: Collection[str],
    source: str,
) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a checkpoint by their names in the torch model.

    Args:
        architecture: The architecture that the weights are for.
        model_type: The model type whose names the checkpoint uses.
        read: Returns a tensor by its name in the checkpoint; called once per tensor.
        names: The names of all tensors in the checkpoint.
        source: The name of the checkpoint, with which error messages begin.

    Raises:
        ValueError: A tensor is missing, has the wrong shape, or does not belong to the model. The
            message names it.
    """
    shapes = weight_shapes(architecture)
    weights: dict[str, NDArray[np.float32]] = {}
    for stored in _stored_weights(architecture, model_type):
        if stored.tensor not in names:
            raise ValueError(f"{source}: {stored.tensor} is missing")
        values = read(stored.tensor)
        if values.shape != stored.shape:
            raise ValueError(
                f"{source}: {stored.tensor}: its shape {list(values.shape)} is not "
                f"{list(stored.shape)}, which the configuration requires"
            )
        values = values + np.float32(1) if stored.minus_one else values
        weights[stored.weight] = values.reshape(shapes[stored.weight])
    known = {stored.tensor for stored in _stored_weights(architecture, model_type)}
    for name in sorted(set(names) - known):
        _check_surplus(name, model_type, weights, read, source)
    return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredWeight:
    """How a checkpoint stores a weight of the torch model.

    Attributes:
        weight: The name in the torch model.
        tensor: The name in the checkpoint.
        shape: The shape in the checkpoint.
        minus_one: Whether the stored value is the weight minus one.
    """

    weight: str
    tensor: str
    shape: tuple[int, ...]
    minus_one: bool = False


def _stored_weights(architecture: Architecture, model_type: str) -> Iterator[_StoredWeight]:
    shapes = weight_shapes(architecture)
    if model_type == CUSTOM:
        for name, shape in shapes.items():
            yield _StoredWeight(weight=name, tensor=name, shape=shape)
        return
    prefixes = _PREFIXES[model_type]
    for name, shape in shapes.items():
        if name.endswith("kernel_DW"):
            # A grouped convolution has one input channel per output channel.
            tensor, shape = _tensor_name(name, architecture, prefixes), (shape[0], 1, shape[1])
        else:
            tensor = _tensor_name(name, architecture, prefixes)
        minus_one = model_type == "gemma3_text" and name.endswith("norm.weight")
        yield _StoredWeight(weight=name, tensor=tensor, shape=shape, minus_one=minus_one)


def _tensor_name(name: str, architecture: Architecture, prefixes: Mapping[str, str]) -> str:
    """Translate a name, e.g. `layers.3.mixer.q_proj` to `model.layers.3.self_attn.q_proj`."""
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
    """Accept redundant tensors of older checkpoints: rotary frequencies and a tied head."""
    if name.endswith("rotary_emb.inv_freq"):
        return
    if name != ("head.weight" if model_type == CUSTOM else "lm_head.weight"):
        raise ValueError(
            f"{source}: {name} is not a weight of a {model_type} model with this configuration"
        )
    if not np.array_equal(read(name), weights["embedding.weight"]):
        raise ValueError(
            f"{source}: {name} differs from the embedding although tie_word_embeddings is true"
        )
