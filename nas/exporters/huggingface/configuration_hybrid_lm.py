"""Configuration of a hybrid language model: its sizes, and what stands in each of its layers."""

from collections.abc import Sequence
from typing import Any, ClassVar

from transformers import PretrainedConfig


class HybridLMConfig(PretrainedConfig):
    """
    layers: one a layer, of a feed_forward_width and a mixer, which is null or, by its kind,
        short_conv: kernel
        attention: heads, kv_heads, head_dim, window (null sees all tokens before), qk_norm,
            head_gate, qkv_bias, rope_base, rope_share (the share of each head that rotates)
        linear_attention: heads, key_dim, value_dim
    embedding_width: below hidden_size, tokens are embedded narrow and projected up.
    sandwich_norm: a second norm on each sub-layer's output.
    embedding_multiplier: what an embedded token is multiplied by.
    """

    model_type = "hybrid_lm"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    def __init__(
        self,
        vocab_size: int = 256,
        hidden_size: int = 64,
        embedding_width: int | None = None,
        layers: Sequence[dict[str, Any]] = (),
        sandwich_norm: bool = False,
        activation: str = "silu",
        norm_eps: float = 1e-5,
        embedding_multiplier: float = 1.0,
        max_position_embeddings: int = 4096,
        use_cache: bool = True,
        tie_word_embeddings: bool = True,
        **others: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.embedding_width = hidden_size if embedding_width is None else embedding_width
        self.layers = [dict(layer) for layer in layers]
        self.num_hidden_layers = len(self.layers)
        self.sandwich_norm = sandwich_norm
        self.activation = activation
        self.norm_eps = norm_eps
        self.embedding_multiplier = embedding_multiplier
        self.max_position_embeddings = max_position_embeddings
        self.use_cache = use_cache
        others.pop("num_hidden_layers", None)  # it is as many as `layers`
        self.tie_word_embeddings = tie_word_embeddings
        super().__init__(**others)
