"""A point of a space: one value for every choice, and the Architecture that they make."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from search_space.architecture import (
    MIXERS,
    Architecture,
    Attention,
    Layer,
    LayoutLetter,
    LinearAttention,
    Mixer,
    ShortConv,
    layout_letters,
)
from search_space.quantization import BLOCK

_FULL_ROPE_BASE = 1e6
_WINDOW_ROPE_BASE = 1e4  # LFM3 and Gemma 3 turn windowed layers faster: they see no far token


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignPoint:
    """One value for every choice of a Space, in its words."""

    layout: str
    width: int
    feed_forward: float
    vocab_size: int
    kernel: int
    head_dim: int
    kv_heads: int
    window: int
    embedding_share: float


def build(point: DesignPoint) -> Architecture:
    """Feed-forward and embedding widths are rounded to whole quantisation blocks."""
    hidden = feed_forward_width(point.width, point.feed_forward)
    return Architecture(
        vocab_size=point.vocab_size,
        width=point.width,
        embedding_width=embedding_width(point.width, point.embedding_share),
        layers=tuple(
            Layer(mixer=_mixer(letter, point), feed_forward_width=hidden)
            for letter in layout_letters(point.layout)
        ),
    )


def feed_forward_width(width: int, multiple: float) -> int:
    return _whole_blocks(width * multiple)


def embedding_width(width: int, share: float) -> int:
    return _whole_blocks(width * share)


def divisor_at_most(heads: int, kv_heads: int) -> int:
    """The most key/value heads, up to `kv_heads`, that share `heads` evenly."""
    return next(count for count in range(min(heads, kv_heads), 0, -1) if heads % count == 0)


def reads_choice(letters: Iterable[LayoutLetter], choice: str) -> bool:
    """Return whether the shape of any of these mixers depends on a choice of the space."""
    return any(choice in MIXERS[letter].choices for letter in letters)


def _mixer(letter: LayoutLetter, point: DesignPoint) -> Mixer | None:
    heads = point.width // point.head_dim
    match letter:
        case "-":
            return None
        case "c":
            return ShortConv(kernel=point.kernel)
        case "a" | "s":
            return Attention(
                heads=heads,
                kv_heads=divisor_at_most(heads, point.kv_heads),
                head_dim=point.head_dim,
                window=point.window if letter == "s" else None,
                rope_base=_WINDOW_ROPE_BASE if letter == "s" else _FULL_ROPE_BASE,
            )
        case "l":
            # Keys of half a head make it as large as the convolution: about 4 width^2 parameters.
            return LinearAttention(
                heads=heads, key_dim=point.head_dim // 2, value_dim=point.head_dim
            )
        case _:
            assert_never(letter)


def _whole_blocks(channels: float) -> int:
    return max(1, round(channels / BLOCK)) * BLOCK
