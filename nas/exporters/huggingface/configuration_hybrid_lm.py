"""The configuration of a hybrid language model: its sizes and the content of its layers."""

from collections.abc import Sequence
from typing import Any, ClassVar

from transformers import PretrainedConfig


class HybridLMConfig(PretrainedConfig):
    """The configuration of a `HybridLMForCausalLM`.

    Args:
        vocab_size: The number of tokens.
        hidden_size: The width of the model.
        embedding_width: The width of the embedding. If it is below `hidden_size`, embeddings are
            projected up, and outputs are projected down before the head. Defaults to `hidden_size`.
        layers: One dictionary per layer, with the keys `feed_forward_width` and `mixer`. A mixer is
            None or a dictionary with the key `kind`, one of the keys of `MIXERS` in
            `modeling_hybrid_lm.py`, and the keys that the docstring of the class there lists.
        sandwich_norm: Whether the output of each sub-layer passes through a second norm.
        activation: The activation of feed-forward layers, `silu` or `gelu_tanh`.
        norm_eps: The epsilon of norms.
        embedding_multiplier: The factor by which embeddings are multiplied.
        max_position_embeddings: The maximum context length, in tokens.
        use_cache: Whether `forward` returns a cache by default, except in training.
        tie_word_embeddings: Whether the head uses the weight of the embedding.
        **kwargs: Further arguments of `PretrainedConfig`.
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
        **kwargs: Any,
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
        kwargs.pop("num_hidden_layers", None)  # it follows from `layers`
        self.tie_word_embeddings = tie_word_embeddings
        super().__init__(**kwargs)
