"""The shape of an architecture: its layout and sizes in one row, for charts and statistics."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from search_space.architecture import ATTENTION_LETTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The layout and sizes of an architecture.

    If layers differ in a property, its value in the first layer that has it is used. None means
    that no layer has it.

    Attributes:
        layout: One letter per layer.
        width: The width of the residual stream.
        feed_forward_width: The feed-forward width of the first layer.
        heads: The number of query heads.
        kv_heads: The number of key/value heads.
        head_dim: The size of a head; for linear attention, of its value heads.
        kernel: The kernel of the short convolutions.
        window: The window of sliding-window attention, in tokens.
        vocab_size: The number of tokens in the vocabulary.
        embedding_width: The width of the embedding.
        embedding_parameters: The number of parameters in the embedding, its projections and an
            untied output head.
    """

    layout: str
    width: int
    feed_forward_width: int
    heads: int | None
    kv_heads: int | None
    head_dim: int | None
    kernel: int | None
    window: int | None
    vocab_size: int
    embedding_width: int
    embedding_parameters: int

    @property
    def attention_layers(self) -> int:
        """The number of layers with full or sliding-window attention."""
        return sum(letter in ATTENTION_LETTERS for letter in self.layout)


def read_shape(text: str, layout: str) -> Shape:
    """Read a shape from an architecture as the store holds it.

    The store validated the architecture when it was saved. Reading thousands of them as an
    `Architecture`, which validates every layer again, would take seconds.

    Args:
        text: The canonical JSON text of the architecture.
        layout: Its layout, one letter per layer.
    """
    facts = json.loads(text)
    layers = facts["layers"]
    properties: dict[str, int] = {}
    for layer in layers:
        mixer = layer["mixer"] or {}
        for name, key in _PROPERTIES:
            if key in mixer:
                properties.setdefault(name, mixer[key])
    width, narrow = facts["width"], facts["embedding_width"]
    heads = 1 if facts.get("tied_head", True) else 2
    projections = 2 * width * narrow if narrow < width else 0
    return Shape(
        layout=layout,
        width=width,
        feed_forward_width=layers[0]["feed_forward_width"],
        heads=properties.get("heads"),
        kv_heads=properties.get("kv_heads"),
        head_dim=properties.get("head_dim"),
        kernel=properties.get("kernel"),
        window=properties.get("window"),
        vocab_size=facts["vocab_size"],
        embedding_width=narrow,
        embedding_parameters=heads * facts["vocab_size"] * narrow + projections,
    )


def read_shapes(texts: Mapping[str, str], layouts: Mapping[str, str]) -> dict[str, Shape]:
    """Read several shapes; see `read_shape`.

    Args:
        texts: The canonical JSON texts of the architectures, by hash.
        layouts: Their layouts, by hash.

    Returns:
        The shapes by hash.
    """
    return {digest: read_shape(text, layouts[digest]) for digest, text in texts.items()}


# The property of a shape, and the key of a mixer that holds it.
_PROPERTIES = (
    ("kernel", "kernel"),
    ("heads", "heads"),
    ("kv_heads", "kv_heads"),
    ("head_dim", "head_dim"),
    ("head_dim", "value_dim"),
    ("window", "window"),
)
