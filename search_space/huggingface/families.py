"""What the model families of transformers that an Architecture can be do, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from search_space.architecture import Activation

LayerType: TypeAlias = Literal["full_attention", "sliding_attention", "conv"]

FULL: LayerType = "full_attention"
SLIDING: LayerType = "sliding_attention"
CONV: LayerType = "conv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What the class of one `model_type` does, whatever its configuration says.

    activation_field: where the activation stands; None for a class that has one only.
    head_dim: where a file names none; None divides the width by the heads.
    names_head_dim: whether the field belongs to the family's configuration.
    rope_base, sliding_rope_base: where a file names none; the latter where sliding layers have
        their own.
    fixed: what these fields are in whatever an Architecture expresses.
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

# In the order in which they are tried: an Architecture may be several, and the first are known to
# most tools.
FAMILIES: Mapping[str, Family] = {
    family.model_type: family for family in (LLAMA, QWEN3, QWEN2, GEMMA3, LFM2, LFM3)
}

ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
}
