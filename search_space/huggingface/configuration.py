"""Converts an Architecture to the `config.json` of a transformers model and back, exactly.

A family of transformers is used only if it computes exactly the same function, which is verified by
reading its configuration back. Every other Architecture is written as a `hybrid_lm`, a model type
whose code is exported with the model. No code from a model folder is ever run.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from search_space.architecture import Activation, Architecture, Attention, Layer, Mixer, ShortConv
from search_space.huggingface.config_reader import Config, error_text, read_family
from search_space.huggingface.families import (
    ACTIVATIONS,
    CONV,
    FAMILIES,
    FULL,
    GEMMA3,
    LFM2,
    LFM3,
    QWEN2,
    QWEN3,
    RESCALED_ROPES,
    SLIDING,
    Family,
    LayerType,
)
from search_space.input_errors import format_value, one_of
from search_space.input_files import is_folder, read_text
from search_space.strict import load_table, parse_strict

CONFIG_FILE = "config.json"
CUSTOM = "hybrid_lm"

# An Architecture defines no special tokens. The defaults of the families are ids that a small
# vocabulary does not contain.
NO_TOKENS: dict[str, object] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


def config_of(architecture: Architecture) -> dict[str, object]:
    """Return the content of the `config.json` that describes an Architecture to transformers."""
    for family in FAMILIES.values():
        config = _family_config(family, architecture)
        if config is not None and _expresses(config, architecture):
            return config | NO_TOKENS
    return _custom_config(architecture) | NO_TOKENS


def read_config(path: Path) -> Config:
    """Read a `config.json`.

    Args:
        path: The file or its folder.

    Raises:
        ValueError: The file cannot be read or is not a JSON object.
    """
    file = path / CONFIG_FILE if is_folder(path) else path
    # Fields that are not read can contain anything, such as the infinity of mamba2.
    return load_table(read_text(file), str(file))


def read_huggingface(path: Path) -> Architecture:
    """Read the Architecture of a `config.json`.

    Args:
        path: The file or its folder.

    Raises:
        ValueError: The file cannot be read, or see `architecture_of`.
    """
    return architecture_of(read_config(path), str(path))


def architecture_of(config: Config, source: str) -> Architecture:
    """Return the Architecture that computes the same function as a configured model.

    Args:
        config: The content of a `config.json`.
        source: The name of the file, with which error messages begin.

    Raises:
        ValueError: A field is missing, wrong, contradicts another one, or requests a feature that
            an Architecture does not have. The message names the field.
    """
    model_type = model_type_of(config, source)
    if model_type == CUSTOM:
        return _read_custom(config, source)
    return read_family(FAMILIES[model_type], config, source)


def model_type_of(config: Config, source: str) -> str:
    """Return the `model_type` of a configuration: one of `FAMILIES` or `CUSTOM`.

    Args:
        config: The content of a `config.json`.
        source: The name of the file, with which error messages begin.

    Raises:
        ValueError: The model type is missing or not supported.
    """
    if "model_type" not in config:
        raise ValueError(f"{source}: model_type is missing; it is {one_of(_MODEL_TYPES)}")
    model_type = config["model_type"]
    if not isinstance(model_type, str) or model_type not in _MODEL_TYPES:
        raise ValueError(
            f"{source}: model_type: {format_value(model_type)} is not {one_of(_MODEL_TYPES)}"
        )
    return model_type


def without_scaling(config: Config) -> Config:
    """Return a configuration without the rescaling of its rotary positions.

    Shape and costs are unchanged, but not what the model computes with its weights.
    """
    plain = {name: value for name, value in config.items() if name != "rope_scaling"}
    table = config.get("rope_parameters")
    if isinstance(table, Mapping):
        by_kind = {kind: _unscaled(table[kind]) for kind in (FULL, SLIDING) if kind in table}
        plain["rope_parameters"] = by_kind or _unscaled(table)
    return plain


_MODEL_TYPES = [*FAMILIES, CUSTOM]


def _unscaled(entry: object) -> object:
    # Older files call it `type`.
    if not isinstance(entry, Mapping):
        return entry
    if (entry.get("rope_type") or entry.get("type")) not in RESCALED_ROPES:
        return entry
    return {"rope_theta": entry["rope_theta"]} if "rope_theta" in entry else {}


def _expresses(config: Config, architecture: Architecture) -> bool:
    try:
        return architecture_of(config, "config") == architecture
    except ValueError:
        return False


def _family_config(family: Family, architecture: Architecture) -> dict[str, object] | None:
    """Return the closest configuration of a family; None if the family's code would fail."""
    mixers = [layer.mixer for layer in architecture.layers]
    attentions = [mixer for mixer in mixers if isinstance(mixer, Attention)]
    windows = [mixer.window for mixer in attentions if mixer.window is not None]
    # The caches of transformers count tokens in an attention layer, and store too many of them for
    # a window of 1.
    if not attentions or 1 in windows:
        return None
    attention = attentions[0]
    config: dict[str, object] = {
        "architectures": [family.class_name],
        "model_type": family.model_type,
        "vocab_size": architecture.vocab_size,
        "hidden_size": architecture.width,
        "intermediate_size": architecture.layers[0].feed_forward_width,
        "num_hidden_layers": len(mixers),
        "num_attention_heads": attention.heads,
        "num_key_value_heads": attention.kv_heads,
        "tie_word_embeddings": architecture.tied_head,
        "rope_parameters": _rope_parameters(family, attentions),
        family.eps_field: architecture.norm_eps,
    }
    if family.names_head_dim:
        config["head_dim"] = attention.head_dim
    if family.activation_field is not None:
        config[family.activation_field] = _ACTIVATION_NAMES[architecture.activation]
    if family.layer_types != (FULL,):
        config["layer_types"] = [_layer_type(mixer) for mixer in mixers]
    if SLIDING in family.layer_types:
        config["sliding_window"] = windows[0] if windows else None
    if CONV in family.layer_types:
        kernels = [mixer.kernel for mixer in mixers if isinstance(mixer, ShortConv)]
        config["conv_L_cache"] = kernels[0] if kernels else 1
    if family in (QWEN2, QWEN3):
        config["use_sliding_window"] = bool(windows)
    if family is GEMMA3:
        config["query_pre_attn_scalar"] = attention.head_dim
        # Its class builds the mask of a window even if no layer has one.
        config["sliding_window"] = windows[0] if windows else _ANY_WINDOW
    if family is LFM2:
        config["block_auto_adjust_ff_dim"] = False
    if family is LFM3:
        config["use_sandwich_norm"] = architecture.sandwich_norm
        config["use_attention_gate"] = attention.head_gate
    return config


_ANY_WINDOW = 4096
_ACTIVATION_NAMES: Mapping[Activation, str] = {
    activation: name for name, activation in ACTIVATIONS.items() if name != "swish"
}


def _layer_type(mixer: Mixer | None) -> LayerType:
    if isinstance(mixer, Attention):
        return FULL if mixer.window is None else SLIDING
    return CONV


def _rope_parameters(family: Family, attentions: Sequence[Attention]) -> dict[str, object]:
    if family.sliding_rope_base is None:
        return _rope_entry(family, attentions[0])
    first = {_layer_type(attention): attention for attention in reversed(attentions)}
    return {kind: _rope_entry(family, attention) for kind, attention in first.items()}


def _rope_entry(family: Family, attention: Attention) -> dict[str, object]:
    entry: dict[str, object] = {"rope_type": "default", "rope_theta": attention.rope_base}
    if attention.rope_share != 1.0 and "proportional" in family.rope_types:
        share = {"partial_rotary_factor": attention.rope_share}
        entry |= {"rope_type": "proportional", **share}
    return entry


@dataclass(frozen=True, slots=True, kw_only=True)
class _CustomFields:
    """The configuration of a `hybrid_lm`: an Architecture, with field names of transformers."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "ignore", "strict": True}
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    embedding_width: int
    layers: tuple[Layer, ...]
    tie_word_embeddings: bool = True
    sandwich_norm: bool
    activation: Activation
    norm_eps: float
    embedding_multiplier: float


def _custom_config(architecture: Architecture) -> dict[str, object]:
    """Write every field of every layer, because the exported code has no defaults."""
    return {
        "architectures": ["HybridLMForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_hybrid_lm.HybridLMConfig",
            "AutoModelForCausalLM": "modeling_hybrid_lm.HybridLMForCausalLM",
        },
        "model_type": CUSTOM,
        "vocab_size": architecture.vocab_size,
        "hidden_size": architecture.width,
        "num_hidden_layers": len(architecture.layers),
        "embedding_width": architecture.embedding_width,
        "tie_word_embeddings": architecture.tied_head,
        "sandwich_norm": architecture.sandwich_norm,
        "activation": architecture.activation,
        "norm_eps": architecture.norm_eps,
        "embedding_multiplier": architecture.embedding_multiplier,
        "layers": [dataclasses.asdict(layer) for layer in architecture.layers],
    }


def _read_custom(config: Config, source: str) -> Architecture:
    fields = parse_strict(_CustomFields, config, source)
    if fields.num_hidden_layers != len(fields.layers):
        raise ValueError(
            f"{source}: layers: {len(fields.layers)} entries do not match num_hidden_layers = "
            f"{fields.num_hidden_layers}"
        )
    try:
        return Architecture(
            vocab_size=fields.vocab_size,
            width=fields.hidden_size,
            embedding_width=fields.embedding_width,
            layers=fields.layers,
            tied_head=fields.tie_word_embeddings,
            sandwich_norm=fields.sandwich_norm,
            activation=fields.activation,
            norm_eps=fields.norm_eps,
            embedding_multiplier=fields.embedding_multiplier,
        )
    except ValueError as error:
        text = error_text(error, {"width": "hidden_size"})
        raise ValueError(f"{source}: {text}") from None
