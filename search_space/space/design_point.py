"""A point in a space: one value for every choice, and the Architecture that they define."""

from collections.abc import Iterable, Mapping, Sequence
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
    MixerChoice,
    ShortConv,
    layout_letters,
)
from search_space.quantization import BLOCK

_FULL_ROPE_BASE = 1e6
# LFM3 and Gemma 3 rotate faster in windowed layers, because these do not attend to distant tokens.
_WINDOW_ROPE_BASE = 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignPoint:
    """One value for every choice of a `Space`.

    Attributes:
        layout: One letter per layer; see `MIXERS`.
        width: Channels of the residual stream.
        feed_forward: Hidden channels of the feed-forwards, as a multiple of the width.
        vocab_size: Number of tokens in the vocabulary.
        kernel: Length of the short convolutions' kernels, in tokens.
        head_dim: Channels per head.
        kv_heads: Upper limit of key/value heads; see `divisor_at_most`.
        window: Window of sliding-window attention, in tokens.
        embedding_share: Width of the embedding, as a fraction of the width.
    """

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
    """Build the architecture at a point.

    Feed-forward and embedding widths are rounded to multiples of a quantisation block.
    """
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
    """Return `multiple` times the width in whole quantisation blocks, at least one."""
    return _whole_blocks(width * multiple)


def feed_forward_bounds(width: int, multiples: Sequence[float]) -> tuple[int, int]:
    """Return the channels of the smallest and the largest of ascending multiples of the width."""
    return feed_forward_width(width, multiples[0]), feed_forward_width(width, multiples[-1])


def embedding_width(width: int, share: float) -> int:
    """Return the fraction `share` of the width in whole quantisation blocks, at least one."""
    return _whole_blocks(width * share)


def divisor_at_most(heads: int, kv_heads: int) -> int:
    """Return the largest number of key/value heads, up to `kv_heads`, that divides `heads`."""
    return next(count for count in range(min(heads, kv_heads), 0, -1) if heads % count == 0)


def reads_choice(letters: Iterable[LayoutLetter], choice: MixerChoice) -> bool:
    """Return whether the shape of any of these mixers depends on the named choice of a space."""
    return any(choice in MIXERS[letter].choices for letter in letters)


def choice_indices(
    mixer: Mixer | None, choices: Mapping[MixerChoice, Sequence[int]]
) -> dict[MixerChoice, int]:
    """Return the values from which `build` makes a mixer, for the choices that the mixer reads.

    Some properties of a mixer follow from no choice, such as the norm of heads. They are ignored.

    Args:
        mixer: The mixer.
        choices: The values of all choices.

    Returns:
        The index of the first such value of each choice.

    Raises:
        ValueError: A choice has no such value.
    """
    match mixer:
        case None:
            return {}
        case ShortConv(kernel=kernel):
            return {"kernel": choices["kernel"].index(kernel)}
        case Attention(heads=heads, kv_heads=kv_heads, head_dim=head_dim, window=window):
            rounded = [divisor_at_most(heads, count) for count in choices["kv_heads"]]
            indices: dict[MixerChoice, int] = {
                "head_dim": choices["head_dim"].index(head_dim),
                "kv_heads": rounded.index(kv_heads),
            }
            if window is not None:
                indices["window"] = choices["window"].index(window)
            return indices
        case LinearAttention(value_dim=value_dim):
            return {"head_dim": choices["head_dim"].index(value_dim)}
        case _:
            assert_never(mixer)


def _mixer(letter: LayoutLetter, point: DesignPoint) -> Mixer | None:
    """Return the mixer of a letter; `choice_indices` is the inverse."""
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
            # With keys of half a head, this mixer has as many parameters as a short convolution:
            # about 4 * width^2.
            return LinearAttention(
                heads=heads, key_dim=point.head_dim // 2, value_dim=point.head_dim
            )
        case _:
            assert_never(letter)


def _whole_blocks(channels: float) -> int:
    return max(1, round(channels / BLOCK)) * BLOCK
