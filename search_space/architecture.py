"""The architecture of a language model: validated facts with one canonical text.

A model is an embedding, a stack of layers, a final norm and a head. A layer is a mixer, which moves
information between tokens, and a SwiGLU feed-forward. Each of the two reads the residual stream
through an RMS norm and adds its output to it.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal, TypeAlias, assert_never

Activation: TypeAlias = Literal["silu", "gelu_tanh"]
LayoutLetter: TypeAlias = Literal["c", "a", "s", "l", "-"]
MixerChoice: TypeAlias = Literal["kernel", "head_dim", "kv_heads", "window"]
"""A choice of a `Space` that decides the shape of mixers."""

# Values in files are not coerced, and an unknown field is an error.
_STRICT_FIELDS: dict[str, object] = {"extra": "forbid", "strict": True}

# The upper limit of every field that holds an integer.
_LIMITS = {
    "vocab_size": 1_048_576,
    "width": 65_536,
    "embedding_width": 65_536,
    "feed_forward_width": 262_144,
    "kernel": 256,
    "heads": 1_024,
    "kv_heads": 1_024,
    "head_dim": 1_024,
    "key_dim": 1_024,
    "value_dim": 1_024,
    "window": 1_048_576,
}
_MOST_LAYERS = 256

# The divisor of the log-decay of gated linear attention (arXiv 2312.06635, section 4.4: tau = 16).
DECAY_TEMPERATURE = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortConv:
    """The gated short convolution of LFM2: `C * conv(B * x)`, depthwise and causal.

    Source: arXiv 2511.23404.

    Attributes:
        kind: The name of this mixer in files.
        kernel: Length of the kernel, in tokens.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT_FIELDS
    kind: Literal["short_conv"] = "short_conv"
    kernel: int

    def __post_init__(self) -> None:
        _check_limits(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Grouped-query softmax attention with rotary position embeddings.

    Attributes:
        kind: The name of this mixer in files.
        heads: Number of query heads.
        kv_heads: Number of key/value heads; divides `heads`.
        head_dim: Channels per head; an even number.
        window: Number of tokens that each token attends to, including itself. None means that it
            attends to all tokens before it.
        qk_norm: Whether each head's queries and keys pass through an RMS norm.
        head_gate: Whether a sigmoid gate per head scales the head's output (LFM3).
        qkv_bias: Whether the query, key and value projections have biases.
        rope_base: Base of the rotary frequencies.
        rope_share: Fraction of each head's channel pairs that rotate, starting with the first pair.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT_FIELDS
    kind: Literal["attention"] = "attention"
    heads: int
    kv_heads: int
    head_dim: int
    window: int | None = None
    qk_norm: bool = True
    head_gate: bool = False
    qkv_bias: bool = False
    rope_base: float = 1e6
    rope_share: float = 1.0

    def __post_init__(self) -> None:
        _check_limits(self)
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads: {self.kv_heads} does not divide heads = {self.heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim: {self.head_dim} is not even, as rotary positions require")
        if not 1.0 < self.rope_base <= 1e9:
            raise ValueError(f"rope_base: {self.rope_base} is not above 1 and at most 1e9")
        if not 0.0 <= self.rope_share <= 1.0:
            raise ValueError(f"rope_share: {self.rope_share} is not between 0 and 1")
        pairs = self.head_dim // 2 * self.rope_share
        if abs(pairs - round(pairs)) > 1e-6:  # a third of 96 is not exact in binary
            raise ValueError(
                f"rope_share: {self.rope_share} of head_dim = {self.head_dim} is not a whole "
                "number of pairs"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearAttention:
    """Gated linear attention with one decay per head (arXiv 2312.06635, scalar decay).

    `S_t = exp(g_t) S_{t-1} + k_t v_t^T`, `o_t = q_t S_t / sqrt(key_dim)`, followed by an RMS norm
    per head and a SiLU output gate.

    Attributes:
        kind: The name of this mixer in files.
        heads: Number of heads.
        key_dim: Channels of each head's queries and keys.
        value_dim: Channels of each head's values.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT_FIELDS
    kind: Literal["linear_attention"] = "linear_attention"
    heads: int
    key_dim: int
    value_dim: int

    def __post_init__(self) -> None:
        _check_limits(self)


Mixer: TypeAlias = ShortConv | Attention | LinearAttention


@dataclass(frozen=True, slots=True, kw_only=True)
class MixerKind:
    """A kind of mixer, as layouts, spaces, charts and tables refer to it.

    Attributes:
        letter: The letter that stands for it in a layout.
        name: Its name in sentences and legends.
        layers: The name of the feature that counts layers of this kind.
        choices: The choices of a `Space` that decide its shape.
        is_softmax_attention: Whether it reads a key/value cache. Rules about attention count the
            layers of these kinds.
        colour: The fill behind its letter and in charts, light enough for black text. The palette
            is Okabe and Ito's, which colour-blind readers can distinguish.
        line_colour: The same hue, dark enough for lines and text on a white background.
    """

    letter: LayoutLetter
    name: str
    layers: str
    choices: tuple[MixerChoice, ...]
    is_softmax_attention: bool
    colour: str
    line_colour: str


# The only list of mixers, in the order of legends and features. The classes in `Mixer` define their
# shapes; `layout_letter` maps a mixer to its letter.
MIXERS: Mapping[LayoutLetter, MixerKind] = MappingProxyType(
    {
        kind.letter: kind
        for kind in (
            MixerKind(
                letter="c",
                name="gated short convolution",
                layers="convolution layers",
                choices=("kernel",),
                is_softmax_attention=False,
                colour="#56b4e9",
                line_colour="#56b4e9",
            ),
            MixerKind(
                letter="a",
                name="attention",
                layers="attention layers",
                choices=("head_dim", "kv_heads"),
                is_softmax_attention=True,
                colour="#e69f00",
                line_colour="#d55e00",
            ),
            MixerKind(
                letter="s",
                name="sliding-window attention",
                layers="sliding-window layers",
                choices=("head_dim", "kv_heads", "window"),
                is_softmax_attention=True,
                colour="#f0e442",
                line_colour="#b59b00",
            ),
            MixerKind(
                letter="l",
                name="gated linear attention",
                layers="linear attention layers",
                choices=("head_dim",),
                is_softmax_attention=False,
                colour="#009e73",
                line_colour="#009e73",
            ),
            MixerKind(
                letter="-",
                name="no mixer",
                layers="layers without mixer",
                choices=(),
                is_softmax_attention=False,
                colour="#b0b0b0",
                line_colour="#b0b0b0",
            ),
        )
    }
)
# The letters under the type of any text, so that a layout can be checked against them.
_LETTERS: Mapping[str, LayoutLetter] = MappingProxyType({str(letter): letter for letter in MIXERS})
ATTENTION_LETTERS = "".join(kind.letter for kind in MIXERS.values() if kind.is_softmax_attention)
MIXER_CHOICES: tuple[MixerChoice, ...] = tuple(
    dict.fromkeys(choice for kind in MIXERS.values() for choice in kind.choices)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: a mixer and a gated feed-forward.

    Attributes:
        mixer: The mixer, or None for a layer that is only a feed-forward.
        feed_forward_width: Hidden channels of the feed-forward.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT_FIELDS
    mixer: Mixer | None
    feed_forward_width: int

    def __post_init__(self) -> None:
        _check_limits(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Everything that determines a model's shape and arithmetic, and nothing else.

    Attributes:
        vocab_size: Number of tokens in the vocabulary.
        width: Channels of the residual stream.
        embedding_width: Channels of a token embedding. If it is less than `width`, embeddings are
            projected up to `width`, and the head projects down before it computes logits (a
            factorised embedding).
        layers: The layers, from first to last.
        tied_head: Whether the head uses the weights of the embedding.
        sandwich_norm: Whether the output of each mixer and feed-forward passes through a second
            norm before it is added to the residual stream.
        activation: Activation function of the feed-forward's gate.
        norm_eps: Epsilon of the RMS norms.
        embedding_multiplier: Factor that each token embedding is multiplied by (Gemma: the square
            root of the width).
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT_FIELDS
    vocab_size: int
    width: int
    embedding_width: int
    layers: tuple[Layer, ...]
    tied_head: bool = True
    sandwich_norm: bool = False
    activation: Activation = "silu"
    norm_eps: float = 1e-5
    embedding_multiplier: float = 1.0

    def __post_init__(self) -> None:
        _check_limits(self)
        if not 1 <= len(self.layers) <= _MOST_LAYERS:
            raise ValueError(
                f"layers: a count of {len(self.layers)} is not between 1 and {_MOST_LAYERS}"
            )
        if self.embedding_width > self.width:
            raise ValueError(
                f"embedding_width: {self.embedding_width} is greater than the width, {self.width}"
            )
        if not 0.0 < self.norm_eps <= 0.1:
            raise ValueError(f"norm_eps: {self.norm_eps} is not above 0 and at most 0.1")
        if not 0.0 < self.embedding_multiplier <= 1e4:
            raise ValueError(
                f"embedding_multiplier: {self.embedding_multiplier} is not above 0 and at most 1e4"
            )

    @property
    def layout(self) -> str:
        """The layers' letters, from first to last: LFM2-350M is `ccaccaccacacacac`."""
        return "".join(layout_letter(layer.mixer) for layer in self.layers)

    @property
    def factorised(self) -> bool:
        """Whether token embeddings are narrower than the residual stream."""
        return self.embedding_width < self.width


def layout_letter(mixer: Mixer | None) -> LayoutLetter:
    """Return the letter of a mixer in a layout; see `MIXERS`."""
    match mixer:
        case None:
            return "-"
        case ShortConv():
            return "c"
        case Attention(window=window):
            return "a" if window is None else "s"
        case LinearAttention():
            return "l"
        case _:
            assert_never(mixer)


def layout_letters(layout: str) -> tuple[LayoutLetter, ...]:
    """Check the letters of a layout and return them, from the first layer to the last.

    Raises:
        ValueError: A letter is not in `MIXERS`.
    """
    for letter in layout:
        if letter not in _LETTERS:
            raise ValueError(f"layout: '{letter}' is not one of {', '.join(MIXERS)}")
    return tuple(_LETTERS[letter] for letter in layout)


def to_json(architecture: Architecture, *, indent: int | None = None) -> str:
    """Return an architecture as canonical JSON text.

    Keys are sorted, and options that have their default value are omitted. Omitting them keeps all
    hashes the same when a later version adds an option. Equal values have the same text: in a float
    field, both 10000 and 1e4 are written as `10000.0`.

    Args:
        architecture: The architecture to write.
        indent: Spaces of indentation per level. None writes the compact text that is hashed.
    """
    separators = (",", ":") if indent is None else None
    plain = _plain(architecture)
    return json.dumps(plain, sort_keys=True, indent=indent, separators=separators)


def architecture_hash(architecture: Architecture) -> str:
    """Return the first 16 hex digits of the SHA-256 of the canonical text.

    Equal architectures have equal hashes on every machine and in every version, because results are
    stored under them.
    """
    return hashlib.sha256(to_json(architecture).encode()).hexdigest()[:16]


def _plain(facts: object) -> object:
    if isinstance(facts, tuple):
        return [_plain(item) for item in facts]
    if not dataclasses.is_dataclass(facts):
        return facts
    return {
        field.name: float(value) + 0.0 if field.type is float else _plain(value)  # no -0.0
        for field in dataclasses.fields(facts)
        if (value := getattr(facts, field.name)) != field.default or field.name == "kind"
    }


def _check_limits(facts: Mixer | Layer | Architecture) -> None:
    kind: type = type(facts)
    for name in _integer_fields(kind):
        value, most = getattr(facts, name), _LIMITS[name]
        if value is not None and not 1 <= value <= most:
            raise ValueError(f"{name}: {value} is not between 1 and {most:,}")


@functools.cache
def _integer_fields(kind: type) -> tuple[str, ...]:
    """Return the names of the fields that hold an integer or, if they are optional, None."""
    names = tuple(
        field.name for field in dataclasses.fields(kind) if field.type in (int, int | None)
    )
    for name in names:
        assert name in _LIMITS, f"{kind.__name__}.{name} has no entry in _LIMITS"
    return names
