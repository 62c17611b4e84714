"""Models of identical layers whose differences in time show what one part of a layer costs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never

import numpy as np

from search_space.architecture import (
    ATTENTION_LETTERS,
    MIXERS,
    Architecture,
    Attention,
    LayoutLetter,
    LinearAttention,
    Mixer,
    ShortConv,
    layout_letter,
)
from search_space.costs import parameter_counts, weight_bytes
from search_space.quantization import Quantization
from search_space.space.design_point import DesignPoint, build, feed_forward_width
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.space_definition import Space

# A name from `part_of`, such as `convolution 3` or `window 512`, or FEED_FORWARD or VOCABULARY.
Part: TypeAlias = str
NO_MIXER = "no mixer"
FEED_FORWARD = "feed-forward"
VOCABULARY = "vocabulary"

HEAD_DIM = 64
SMALL_VOCABULARY = 1_024
# The cost of a head is reported for this number of tokens.
REPORTED_VOCABULARY = 65_536
# Much larger than what is reported, so that one head stands out from the noise of dozens of layers.
LARGE_VOCABULARY = 262_144
WIDE_FEED_FORWARD = 3
_MOST_KV_HEADS = 8
# With fewer layers, the fixed costs of a model would count as costs of a layer. With more layers, a
# single run would take seconds.
_FEWEST_LAYERS, _MOST_LAYERS = 8, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A model to time: each of its layers contains the same part.

    Attributes:
        part: The part in each layer; the vocabulary occurs once in the model.
        letter: The mixer's letter in the layout; None if the part is not a mixer.
        architecture: The model.
    """

    part: Part
    letter: LayoutLetter | None
    architecture: Architecture

    @property
    def has_kv_cache(self) -> bool:
        """Whether decoding slows down with context depth, because a key/value cache is read."""
        return any(letter in ATTENTION_LETTERS for letter in self.architecture.layout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """The variants of mixers to compare; all other mixers exist in one variant.

    Attributes:
        kernels: Kernel lengths of short convolutions, in tokens; at least one.
        windows: Windows of sliding-window attention, in tokens; at least one.
    """

    kernels: tuple[int, ...] = (3, 7)
    windows: tuple[int, ...] = (512,)


def part_of(mixer: Mixer | None) -> Part:
    """Return the name of a mixer, including a convolution's kernel and an attention's window."""
    match mixer:
        case None:
            return NO_MIXER
        case ShortConv(kernel=kernel):
            return f"convolution {kernel}"
        case Attention(window=None):
            return "attention"
        case Attention(window=window):
            return f"window {window}"
        case LinearAttention():
            return "linear attention"
        case _:
            assert_never(mixer)


def make_probes(width: int, layers: int, kinds: Kinds) -> tuple[Probe, ...]:
    """Make the models that are timed to separate the costs of a layer's parts.

    The mixers are those that a search proposes at this width: heads have 64 channels, and there are
    at most 8 key/value heads. Feed-forwards are as wide as the model, except in the probe of the
    feed-forward, where they are three times as wide.

    Args:
        width: Channels of the models, a multiple of 64.
        layers: Number of layers of each model.
        kinds: The mixers to compare.

    Returns:
        The probes. The first one, to which the others are compared, is the short convolution with
        the first kernel.

    Raises:
        ValueError: The width is not a multiple of 64 between 64 and 16,384.
    """
    if width % HEAD_DIM or not HEAD_DIM <= width <= 16_384:
        raise ValueError(
            f"width: {width} is not a multiple of {HEAD_DIM} between {HEAD_DIM} and 16,384"
        )

    stacks = [
        (letter, stack) for letter in MIXERS for stack in _stacks(letter, width, layers, kinds)
    ]
    mixers = tuple(
        Probe(part=part_of(each.layers[0].mixer), letter=letter, architecture=each)
        for letter, each in stacks
    )
    first = stacks[0][1]
    wide = feed_forward_width(width, WIDE_FEED_FORWARD)
    wider = tuple(replace(layer, feed_forward_width=wide) for layer in first.layers)
    return (
        *mixers,
        Probe(part=FEED_FORWARD, letter=None, architecture=replace(first, layers=wider)),
        Probe(
            part=VOCABULARY,
            letter=None,
            architecture=replace(first, vocab_size=LARGE_VOCABULARY),
        ),
    )


def layers_beyond_cache(width: int, quantization: Quantization, cache_bytes: int) -> int:
    """Return the number of layers with which all probes exceed a processor's cache.

    The weights of the lightest probe take at least twice the cache, so that they are streamed from
    memory, as in a deployed model. The result is limited to 8 to 64 layers: a model so narrow that
    it needs more layers would fit in the cache when deployed, too.

    Args:
        width: Channels of the probes.
        quantization: How weight matrices are stored.
        cache_bytes: Size of the processor's largest cache.
    """
    layer_bytes = lightest_probe_bytes(width, 2, quantization) - lightest_probe_bytes(
        width, 1, quantization
    )
    wanted = -(-2 * cache_bytes // layer_bytes)
    return min(_MOST_LAYERS, max(_FEWEST_LAYERS, wanted))


def lightest_probe_bytes(width: int, layers: int, quantization: Quantization) -> int:
    """Return the size in bytes of the weights of the lightest probe, which has no mixer."""
    return weight_bytes(_stack("-", width, layers), quantization)


def part_parameters(probe: Probe) -> int:
    """Return the parameters of the unit whose cost is reported.

    The unit is one mixer, one feed-forward as wide as the model, or one head for
    `REPORTED_VOCABULARY` tokens.
    """
    width = probe.architecture.width
    if probe.part == VOCABULARY:
        return REPORTED_VOCABULARY * width
    if probe.part == FEED_FORWARD:
        return 3 * width**2
    return parameter_counts(probe.architecture).mixers // len(probe.architecture.layers)


def whole_models(width: int, count: int, kinds: Kinds) -> tuple[Architecture, ...]:
    """Draw hybrid models, as a search would, from the mixers of the probes.

    Their measured times show whether the costs of the parts add up. The same models are drawn every
    time.

    Args:
        width: Channels of the models, a multiple of 64.
        count: Number of models.
        kinds: The mixers of the probes. Only the first kernel and the first window are used.
    """
    space = Space(
        depth=(10, 12, 14, 16),
        width=(width,),
        mixers=tuple(letter for letter in MIXERS if letter != layout_letter(None)),
        feed_forward=(2.0, 3.0, 4.0),
        vocab_size=(32_000, 65_536),
        kernel=kinds.kernels[:1],
        head_dim=(HEAD_DIM,),
        kv_heads=(_MOST_KV_HEADS,),
        window=kinds.windows[:1],
    )
    suggester = RandomSuggester(np.random.default_rng(0))
    return tuple(draw(space, suggester) for _ in range(count))


def _stacks(letter: LayoutLetter, width: int, layers: int, kinds: Kinds) -> Iterator[Architecture]:
    """Yield the variants of one mixer that a profile compares."""
    match letter:
        case "c":
            yield from (_stack(letter, width, layers, kernel=kernel) for kernel in kinds.kernels)
        case "s":
            yield from (_stack(letter, width, layers, window=window) for window in kinds.windows)
        case "a" | "l" | "-":
            yield _stack(letter, width, layers)
        case _:
            assert_never(letter)


def _stack(
    letter: LayoutLetter, width: int, layers: int, *, kernel: int = 1, window: int = 1
) -> Architecture:
    return build(
        DesignPoint(
            layout=letter * layers,
            width=width,
            feed_forward=1.0,
            vocab_size=SMALL_VOCABULARY,
            kernel=kernel,
            head_dim=HEAD_DIM,
            kv_heads=_MOST_KV_HEADS,
            window=window,
            embedding_share=1.0,
        )
    )
