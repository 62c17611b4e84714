"""Reads the configuration of a transformers family as an Architecture, exactly or not at all.

Both old and new names of a field are read. Fields that the family's own class does not read have no
effect and are ignored.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from search_space.architecture import (
    Activation,
    Architecture,
    Attention,
    Layer,
    Mixer,
    ShortConv,
)
from search_space.huggingface.families import (
    ACTIVATIONS,
    CONV,
    FULL,
    GEMMA3,
    LFM2,
    LFM3,
    LLAMA,
    QWEN2,
    QWEN3,
    RESCALED_ROPES,
    SLIDING,
    Family,
)
from search_space.input_errors import format_value, one_of
from search_space.strict import parse_strict

Config: TypeAlias = Mapping[str, object]

_MAX_LAYERS = 256
_IGNORE_UNKNOWN: dict[str, object] = {"extra": "ignore", "strict": True}


def read_family(family: Family, config: Config, source: str) -> Architecture:
    """Return the Architecture that computes the same function as a model of the family.

    Args:
        family: The family that the configuration names.
        config: The configuration.
        source: The name of its file, with which error messages begin.

    Raises:
        ValueError: No Architecture computes the same function, or a field is missing or wrong.
    """
    # In every family, `per_layer_config` can change any field of a layer.
    for name, supported in {**family.fixed, "per_layer_config": None}.items():
        if config.get(name) not in (supported, None):
            raise ValueError(
                f"{source}: {name}: {format_value(config[name])} is not supported; "
                f"only {format_value(supported)} is"
            )
    fields = parse_strict(_Fields, _renamed(family, config), source)
    try:
        _check_counts(family, config, fields)
        layer_types = _layer_types(family, fields)
        mixers = {kind: _mixer(kind, family, fields) for kind in set(layer_types)}
        return _architecture(family, fields, [mixers[kind] for kind in layer_types])
    except ValueError as error:
        names = {**_NAMES_IN_CONFIG, "norm_eps": family.eps_field}
        raise ValueError(f"{source}: {error_text(error, names)}") from None


def error_text(error: ValueError, names: Mapping[str, str]) -> str:
    """Return an Architecture's error message with the field renamed as in a configuration.

    Args:
        error: The error, whose message begins with the name of a field.
        names: The names of fields in the configuration, by their names in an Architecture.
    """
    field, colon, reason = str(error).partition(":")
    return f"{names.get(field, field)}{colon}{reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    """The fields that the classes read: all classes, then Qwen, Gemma 3, LFM2 and LFM3 only."""

    __pydantic_config__: ClassVar[dict[str, object]] = _IGNORE_UNKNOWN
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    rms_norm_eps: float | None = None
    norm_eps: float | None = None
    hidden_act: str | None = None
    hidden_activation: str | None = None
    tie_word_embeddings: bool | None = None
    layer_types: tuple[str, ...] | None = None
    sliding_window: int | None = None
    rope_parameters: dict[str, object] | None = None
    rope_scaling: dict[str, object] | None = None
    rope_theta: float | None = None

    use_sliding_window: bool = False
    max_window_layers: int = 28

    sliding_window_pattern: int = 6
    rope_local_base_freq: float | None = None
    query_pre_attn_scalar: float = 256

    conv_L_cache: int | None = None
    full_attn_idxs: tuple[int, ...] | None = None
    block_auto_adjust_ff_dim: bool = True
    block_ffn_dim_multiplier: float | None = 1.0
    block_multiple_of: int = 256

    use_sandwich_norm: bool = True
    use_attention_gate: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rope:
    __pydantic_config__: ClassVar[dict[str, object]] = _IGNORE_UNKNOWN
    rope_type: str | None = None
    type: str | None = None
    rope_theta: float | None = None
    partial_rotary_factor: float = 1.0
    factor: float = 1.0


_NAMES_IN_CONFIG = {
    "width": "hidden_size",
    "feed_forward_width": "intermediate_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "kernel": "conv_L_cache",
    "window": "sliding_window",
    "rope_base": "rope_theta",
    "rope_share": "partial_rotary_factor",
}


def _renamed(family: Family, config: Config) -> Config:
    """Rename fields of LFM2's first files, which take precedence in its class."""
    if family is not LFM2:
        return config
    older = {"block_ff_dim": "intermediate_size", "tie_embedding": "tie_word_embeddings"}
    return {**config, **{new: config[old] for old, new in older.items() if old in config}}


def _check_counts(family: Family, config: Config, fields: _Fields) -> None:
    depth, heads, width = fields.num_hidden_layers, fields.num_attention_heads, fields.hidden_size
    if not 1 <= depth <= _MAX_LAYERS:
        raise ValueError(f"num_hidden_layers: {depth} is not between 1 and {_MAX_LAYERS}")
    if heads < 1:
        raise ValueError(f"num_attention_heads: {heads} is not at least 1")
    # If a file has no such field, Llama uses one per head, other families a number of their own.
    if family is not LLAMA and "num_key_value_heads" not in config:
        raise ValueError("num_key_value_heads is missing")
    # Llama's and Gemma's classes refuse it even if `head_dim` is given.
    if width % heads and (family in (LLAMA, GEMMA3) or _head_dim(family, fields) is None):
        raise ValueError(f"num_attention_heads: {heads} does not divide hidden_size = {width}")


def _layer_types(family: Family, fields: _Fields) -> Sequence[str]:
    if family is LLAMA or fields.layer_types is None:
        return _default_layer_types(family, fields)
    if len(fields.layer_types) != fields.num_hidden_layers:
        raise ValueError(
            f"layer_types: {len(fields.layer_types)} entries do not match num_hidden_layers = "
            f"{fields.num_hidden_layers}"
        )
    for index, kind in enumerate(fields.layer_types):
        if kind not in family.layer_types:
            raise ValueError(
                f"layer_types[{index}]: {format_value(kind)} is not {one_of(family.layer_types)} "
                f"in {family.model_type}"
            )
    return fields.layer_types


def _default_layer_types(family: Family, fields: _Fields) -> Sequence[str]:
    """Return the layer types that the family's class uses if a file lists none."""
    layers = range(fields.num_hidden_layers)
    if family is GEMMA3:
        every = max(1, fields.sliding_window_pattern)
        return [SLIDING if (index + 1) % every else FULL for index in layers]
    if family is LFM2:
        full = layers if fields.full_attn_idxs is None else fields.full_attn_idxs
        return [FULL if index in full else CONV for index in layers]
    if family is LFM3:
        by_four = {2: FULL, 0: SLIDING}
        return [by_four.get(index % 4, CONV) if index else CONV for index in layers]
    slides = fields.use_sliding_window and fields.sliding_window is not None
    first = fields.max_window_layers if slides else fields.num_hidden_layers
    return [FULL if index < first else SLIDING for index in layers]


def _mixer(kind: str, family: Family, fields: _Fields) -> Mixer:
    if kind == CONV:
        default = 3 if family is LFM2 else 7
        return ShortConv(kernel=default if fields.conv_L_cache is None else fields.conv_L_cache)
    if kind == SLIDING and fields.sliding_window is None:
        raise ValueError("sliding_window is missing, but layer_types contains sliding_attention")
    if kind == SLIDING and family in (QWEN2, QWEN3) and not fields.use_sliding_window:
        raise ValueError(
            "use_sliding_window: false contradicts layer_types, which contains sliding_attention"
        )
    heads, rope = fields.num_attention_heads, _rope(kind, family, fields)
    head_dim = _head_dim(family, fields)
    return Attention(
        heads=heads,
        kv_heads=heads if fields.num_key_value_heads is None else fields.num_key_value_heads,
        head_dim=fields.hidden_size // heads if head_dim is None else head_dim,
        window=fields.sliding_window if kind == SLIDING else None,
        qk_norm=family.qk_norm,
        head_gate=family is LFM3 and fields.use_attention_gate,
        qkv_bias=family.qkv_bias,
        rope_base=_default_rope_base(kind, family, fields)
        if rope.rope_theta is None
        else rope.rope_theta,
        rope_share=rope.partial_rotary_factor,
    )


def _head_dim(family: Family, fields: _Fields) -> int | None:
    return family.head_dim if fields.head_dim is None else fields.head_dim


def _rope(kind: str, family: Family, fields: _Fields) -> _Rope:
    """Return the rotary settings of a kind of layer; refuse rescaled frequencies."""
    name, table = _rope_table(kind, family, fields)
    rope = parse_strict(_Rope, table, name)
    rope_type = rope.rope_type or rope.type or "default"
    if rope_type not in family.rope_types:
        # `without_scaling` removes the whole table `rope_scaling`, but keeps other types elsewhere.
        if rope_type not in RESCALED_ROPES and name != "rope_scaling":
            known = one_of(family.rope_types)
            raise ValueError(f"{name}: rope_type: {format_value(rope_type)} is not {known}")
        raise ValueError(
            f"{name}: rope_type: {format_value(rope_type)} rescales rotary frequencies, which is "
            "not supported; nas import --without-rope-scaling ignores it and keeps shape and costs"
        )
    if rope.factor != 1.0 or (rope_type == "default" and rope.partial_rotary_factor != 1.0):
        raise ValueError(f"{name}: a factor contradicts rope_type = '{rope_type}'")
    return rope


def _rope_table(kind: str, family: Family, fields: _Fields) -> tuple[str, object]:
    """Return the rotary settings of a kind of layer in the file, and the name of their field."""
    by_kind = family.sliding_rope_base is not None
    if by_kind and fields.rope_parameters is not None:
        name = f"rope_parameters.{kind}"
        if fields.rope_parameters.get(kind) is None and family is LFM3:
            raise ValueError(f"{name} is missing")
        return name, fields.rope_parameters.get(kind) or {}
    if family is LFM3:
        return "rope_parameters", _LFM3_ROPE[kind]
    if family is GEMMA3 and kind == SLIDING:
        return "rope_scaling", {}  # applies to full attention only
    if fields.rope_scaling:
        return "rope_scaling", fields.rope_scaling
    return "rope_parameters", fields.rope_parameters or {}


_LFM3_ROPE: Mapping[str, Config] = {
    FULL: {"rope_type": "proportional", "rope_theta": 1e6, "partial_rotary_factor": 0.5},
    SLIDING: {"rope_type": "default", "rope_theta": 1e4},
}


def _default_rope_base(kind: str, family: Family, fields: _Fields) -> float:
    if kind == SLIDING and family.sliding_rope_base is not None:
        named = fields.rope_local_base_freq
        return family.sliding_rope_base if named is None else named
    return family.rope_base if fields.rope_theta is None else fields.rope_theta


def _architecture(family: Family, fields: _Fields, mixers: Sequence[Mixer]) -> Architecture:
    tied, width = fields.tie_word_embeddings, fields.hidden_size
    eps = fields.rms_norm_eps if family.eps_field == "rms_norm_eps" else fields.norm_eps
    head_dim = _head_dim(family, fields)
    if family is GEMMA3 and fields.query_pre_attn_scalar != head_dim:
        raise ValueError(
            f"query_pre_attn_scalar: {fields.query_pre_attn_scalar:g} is not supported; only "
            f"head_dim = {head_dim} is, because scores are divided by the square root of head_dim"
        )
    hidden = _feed_forward_width(family, fields)
    return Architecture(
        vocab_size=fields.vocab_size,
        width=width,
        embedding_width=width,
        layers=tuple(Layer(mixer=mixer, feed_forward_width=hidden) for mixer in mixers),
        tied_head=family.tied_head if tied is None else tied,
        sandwich_norm=family is GEMMA3 or (family is LFM3 and fields.use_sandwich_norm),
        activation=_activation(family, fields),
        norm_eps=family.eps if eps is None else eps,
        embedding_multiplier=math.sqrt(width) if family is GEMMA3 else 1.0,
    )


def _activation(family: Family, fields: _Fields) -> Activation:
    given = fields.hidden_act if family.activation_field == "hidden_act" else None
    given = fields.hidden_activation if family.activation_field == "hidden_activation" else given
    name = given or family.activation
    if name not in ACTIVATIONS:
        known = one_of(list(ACTIVATIONS))
        raise ValueError(f"{family.activation_field}: {format_value(name)} is not {known}")
    return ACTIVATIONS[name]


def _feed_forward_width(family: Family, fields: _Fields) -> int:
    """Return the width; by default, LFM2 uses two thirds of it, rounded up to a multiple."""
    width = fields.intermediate_size
    if family is not LFM2 or not fields.block_auto_adjust_ff_dim:
        return width
    width = int(2 * width / 3)
    if fields.block_ffn_dim_multiplier is None:
        return width
    multiple = max(1, fields.block_multiple_of)
    return multiple * math.ceil(int(fields.block_ffn_dim_multiplier * width) / multiple)
