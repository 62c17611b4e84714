"""Whole models of equal layers whose differences in time tell what one part of a layer costs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never

import numpy as np

from search_space.architecture import (
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

# `convolution 3`, `attention`, `window 512`, `linear attention`, `no mixer`, and the two below.
Part: TypeAlias = str
NO_MIXER = "no mixer"
FEED_FORWARD = "feed-forward"
VOCABULARY = "vocabulary"

HEAD_DIM = 64
SMALL_VOCABULARY = 1_024
TOLD_VOCABULARY = 65_536
# Much larger than what is told: one head has to stand out from the noise of dozens of layers.
LARGE_VOCABULARY = 262_144
WIDE_FEED_FORWARD = 3
_MOST_KV_HEADS = 8
# Fewer would leave a model's fixed costs in what a layer is said to take; more would take seconds.
_FEWEST_LAYERS, _MOST_LAYERS = 8, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A model that has `part` in each of its layers, or once where it is the vocabulary.

    letter: the layout's; None for what is no mixer.
    """

    part: Part
    letter: LayoutLetter | None
    architecture: Architecture

    @property
    def remembers_all(self) -> bool:
        """Whether writing a token takes longer the more tokens there are before it."""
        mixers = (layer.mixer for layer in self.architecture.layers)
        return any(isinstance(mixer, Attention) for mixer in mixers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """Which mixers are told apart, beside one each of full and linear attention: one or more."""

    kernels: tuple[int, ...] = (3, 7)
    windows: tuple[int, ...] = (512,)


def part_of(mixer: Mixer | None) -> Part:
    """The part's name, in which a short convolution's kernel and an attention's window stand."""
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
    """The first is the short convolution of the first kernel, which the others are compared with.

    Mixers are those that a search draws at this width: heads of 64, 8 key/value heads at most. A
    feed-forward is as wide as the model. Raises ValueError for a width that heads do not divide.
    """
    if width % HEAD_DIM or not HEAD_DIM <= width <= 16_384:
        raise ValueError(f"width: {width} is not a multiple of {HEAD_DIM} up to 16,384")

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


def layers_beyond(width: int, quantization: Quantization, cache_bytes: int) -> int:
    """Layers of the lightest probe that weigh twice the cache: weights stream, as they do deployed.

    Bounded: a narrow model that would take too many is at home in the cache when deployed, too.
    """
    layer_bytes = lightest_bytes(width, 2, quantization) - lightest_bytes(width, 1, quantization)
    wanted = -(-2 * cache_bytes // layer_bytes)
    return min(_MOST_LAYERS, max(_FEWEST_LAYERS, wanted))


def lightest_bytes(width: int, layers: int, quantization: Quantization) -> int:
    """The weights of the probe without a mixer."""
    return weight_bytes(_stack("-", width, layers), quantization)


def part_parameters(probe: Probe) -> int:
    """Of what costs are told for: one mixer, one feed-forward as wide as the model, one head."""
    width = probe.architecture.width
    if probe.part == VOCABULARY:
        return TOLD_VOCABULARY * width
    if probe.part == FEED_FORWARD:
        return 3 * width**2
    return parameter_counts(probe.architecture).mixers // len(probe.architecture.layers)


def whole_models(width: int, count: int, kinds: Kinds) -> tuple[Architecture, ...]:
    """Hybrids of all the probes' mixers as a search draws them; the same ones every time."""
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
    """The variants of one mixer that a profile compares."""
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
