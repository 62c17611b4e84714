"""An architecture in one row: what charts and statistics look at, without its layers one by one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from search_space.architecture import ATTENTION_LETTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Of the layers' properties those of the first layer that has them; None where none has.

    embedding_parameters: of the embedding, its projections, and a head of its own.
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
        """Full and sliding-window."""
        return sum(letter in ATTENTION_LETTERS for letter in self.layout)


def read_shape(text: str, layout: str) -> Shape:
    """From the canonical text of an architecture that the store has checked when it took it in.

    Reading thousands as Architectures, every layer checked anew, takes seconds.
    """
    facts = json.loads(text)
    layers = facts["layers"]
    properties: dict[str, int] = {}
    for layer in layers:
        # Its value heads are what linear attention has for a head's size.
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
    """Both by hash."""
    return {digest: read_shape(text, layouts[digest]) for digest, text in texts.items()}


_PROPERTIES = (
    ("kernel", "kernel"),
    ("heads", "heads"),
    ("kv_heads", "kv_heads"),
    ("head_dim", "head_dim"),
    ("head_dim", "value_dim"),
    ("window", "window"),
)
