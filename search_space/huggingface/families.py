"""The model families of transformers that an Architecture can be converted to, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from search_space.architecture import Activation

LayerType: TypeAlias = Literal["full_attention", "sliding_attention", "conv"]

FULL: LayerType = "full_attention"
SLIDING: LayerType = "sliding_attention"
CONV: LayerType = "conv"

# Values of `rope_type` that rescale rotary frequencies for contexts beyond those of the training.
RESCALED_ROPES = ("linear", "dynamic", "yarn", "longrope", "llama3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A model family of transformers: its constant properties and the defaults of its fields.

    Attributes:
        model_type: The name in `config.json`.
        class_name: The class of its language model.
        layer_types: The layer types that it supports.
        eps_field: The field that holds the epsilon of norms.
        eps: The default epsilon.
        activation_field: The field that holds the activation; None if the family has only one.
        activation: The default activation.
        tied_head: Whether the head is tied by default.
        qk_norm: Whether queries and keys are normalised per head.
        qkv_bias: Whether query, key and value projections have biases.
        head_dim: The default head size; None stands for the width divided by the number of heads.
        names_head_dim: Whether `head_dim` is a field of the family's configuration.
        rope_base: The default rotary base.
        sliding_rope_base: The default rotary base of sliding-window layers; None if they use
            `rope_base`.
        rope_types: The supported values of `rope_type`.
        fixed: Fields for which only one value is supported, with that value.
    """

    model_type: str
    class_name: str
    layer_types: tuple[LayerType, ...]
    eps_field: Literal["rms_norm_eps", "norm_eps"] = "rms_norm_eps"
    eps: float = 1e-6
    activation_field: Literal["hidden_act", "hidden_activation"] | None = "hidden_act"
    activation: str = "silu"
    tied_head: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False
    head_dim: int | None = None
    names_head_dim: bool = True
    rope_base: float = 1e4
    sliding_rope_base: float | None = None
    rope_types: tuple[str, ...] = ("default",)
    fixed: Mapping[str, object] = field(default_factory=dict)


LLAMA = Family(
    model_type="llama",
    class_name="LlamaForCausalLM",
    layer_types=(FULL,),
    fixed={"attention_bias": False, "mlp_bias": False, "sliding_window": None},
)
QWEN3 = Family(
    model_type="qwen3",
    class_name="Qwen3ForCausalLM",
    layer_types=(FULL, SLIDING),
    qk_norm=True,
    head_dim=128,
    fixed={"attention_bias": False},
)
QWEN2 = Family(
    model_type="qwen2",
    class_name="Qwen2ForCausalLM",
    layer_types=(FULL, SLIDING),
    qkv_bias=True,
    names_head_dim=False,
)
GEMMA3 = Family(
    model_type="gemma3_text",
    class_name="Gemma3ForCausalLM",
    layer_types=(FULL, SLIDING),
    activation_field="hidden_activation",
    activation="gelu_pytorch_tanh",
    tied_head=True,
    qk_norm=True,
    head_dim=256,
    rope_base=1e6,
    sliding_rope_base=1e4,
    fixed={
        "attention_bias": False,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "use_bidirectional_attention": False,
    },
)
LFM2 = Family(
    model_type="lfm2",
    class_name="Lfm2ForCausalLM",
    layer_types=(FULL, CONV),
    eps_field="norm_eps",
    eps=1e-5,
    activation_field=None,
    tied_head=True,
    qk_norm=True,
    names_head_dim=False,
    rope_base=1e6,
    fixed={"conv_bias": False},
)
LFM3 = Family(
    model_type="lfm3",
    class_name="Lfm3ForCausalLM",
    layer_types=(FULL, SLIDING, CONV),
    eps_field="norm_eps",
    eps=1e-5,
    activation_field=None,
    tied_head=True,
    qk_norm=True,
    head_dim=128,
    rope_base=1e6,
    sliding_rope_base=1e6,
    rope_types=("default", "proportional"),
    fixed={"attention_bias": False, "conv_bias": False},
)

# In the order in which they are tried. Several can fit an Architecture; the first ones are
# supported by most tools.
FAMILIES: Mapping[str, Family] = {
    family.model_type: family for family in (LLAMA, QWEN3, QWEN2, GEMMA3, LFM2, LFM3)
}

ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
}
