"""An Architecture as the `config.json` of a transformers model, and back, exactly or not at all.

A family of transformers is taken only where it does the very same arithmetic, which reading its
configuration back tells. Every other Architecture is a `hybrid_lm`, whose code travels with it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from search_space.architecture import Activation, Architecture, Attention, Layer, Mixer, ShortConv
from search_space.huggingface.config_reader import Config, in_their_words, read_family
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
    SLIDING,
    Family,
    LayerType,
)
from search_space.input_errors import one_of, shown
from search_space.strict import parse_strict

CUSTOM = "hybrid_lm"

# An Architecture says nothing of tokens with a meaning; the families' own defaults are ids that a
# small vocabulary does not have.
NO_TOKENS: dict[str, object] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


def config_of(architecture: Architecture) -> dict[str, object]:
    """What transformers has to be told of an Architecture, to be written as JSON."""
    for family in FAMILIES.values():
        config = _family_config(family, architecture)
        if config is not None and _says(config, architecture):
            return config | NO_TOKENS
    return _custom_config(architecture) | NO_TOKENS


def architecture_of(config: Config, source: str) -> Architecture:
    """The Architecture that does the arithmetic of a configuration.

    ValueError, one sentence that begins with `source`, names the field where one is missing, wrong,
    contradicts another, or asks for what an Architecture cannot say.
    """
    model_type = model_type_of(config, source)
    if model_type == CUSTOM:
        return _read_custom(config, source)
    return read_family(FAMILIES[model_type], config, source)


def model_type_of(config: Config, source: str) -> str:
    """The name of the configuration's family, or of our own code; ValueError for any other."""
    if "model_type" not in config:
        raise ValueError(f"{source}: model_type is missing; it is {one_of(_MODEL_TYPES)}")
    model_type = config["model_type"]
    if not isinstance(model_type, str) or model_type not in _MODEL_TYPES:
        raise ValueError(f"{source}: model_type: {shown(model_type)} is not {one_of(_MODEL_TYPES)}")
    return model_type


def without_scaling(config: Config) -> Config:
    """A configuration whose rotary positions turn as trained at first, before their rescaling.

    Shape and costs stay; what its weights would compute does not.
    """
    plain = {name: value for name, value in config.items() if name != "rope_scaling"}
    table = config.get("rope_parameters")
    if isinstance(table, Mapping):
        by_kind = {kind: _unscaled(table[kind]) for kind in (FULL, SLIDING) if kind in table}
        plain["rope_parameters"] = by_kind or _unscaled(table)
    return plain


_MODEL_TYPES = [*FAMILIES, CUSTOM]
_RESCALED = ("linear", "dynamic", "yarn", "longrope", "llama3")


def _unscaled(entry: object) -> object:
    if not isinstance(entry, Mapping) or entry.get("rope_type") not in _RESCALED:
        return entry
    return {"rope_theta": entry["rope_theta"]} if "rope_theta" in entry else {}


def _says(config: Config, architecture: Architecture) -> bool:
    try:
        return architecture_of(config, "config") == architecture
    except ValueError:
        return False


def _family_config(family: Family, architecture: Architecture) -> dict[str, object] | None:
    """The family's configuration nearest to an Architecture; None where its code would fail."""
    mixers = [layer.mixer for layer in architecture.layers]
    attentions = [mixer for mixer in mixers if isinstance(mixer, Attention)]
    windows = [mixer.window for mixer in attentions if mixer.window is not None]
    # transformers' caches count tokens in an attention layer, and keep too many for a window of 1.
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
        # Its class masks a window also where no layer has one.
        config["sliding_window"] = windows[0] if windows else _ANY_WINDOW
    if family is LFM2:
        config["block_auto_adjust_ff_dim"] = False
    if family is LFM3:
        config["use_sandwich_norm"] = architecture.sandwich_norm
        config["use_attention_gate"] = attention.head_gate
    return config


_ANY_WINDOW = 4096
_ACTIVATION_NAMES: Mapping[Activation, str] = {
    ours: theirs for theirs, ours in ACTIVATIONS.items() if theirs != "swish"
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
    """Our own configuration: an Architecture, with the names that transformers' tools look for."""

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
    """Every field of every layer is there: the code that travels knows no defaults."""
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
            f"{source}: layers: {len(fields.layers)} contradict num_hidden_layers = "
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
        sentence = in_their_words(error, {"width": "hidden_size"})
        raise ValueError(f"{source}: {sentence}") from None
