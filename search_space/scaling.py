"""Scaling of an Architecture to a number of parameters, with the pattern of its layout kept."""

import bisect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from search_space.architecture import (
    Architecture,
    Attention,
    Layer,
    LinearAttention,
    Mixer,
    ShortConv,
)
from search_space.costs import parameter_counts

# A scaled model may differ from its target by this fraction of the parameters.
TOLERANCE = 0.02

_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_LEAST, _MOST = 1_000, 10**12
# Matrix kernels and quantised blocks work best on multiples of large powers of two, so sizes are
# rounded to multiples of the first of these that divides the given sizes.
_GRAINS = (32, 16, 8, 4, 2, 1)
# Upper limits of an Architecture.
_MOST_WIDTH, _MOST_FEED_FORWARD, _MOST_HEADS, _MOST_LAYERS = 65_536, 262_144, 1_024, 256


def parse_parameters(text: str) -> int:
    """Parse a number of parameters such as `700M`, `0.7B` or `700000000`.

    Raises:
        ValueError: The text is not a number from 1,000 to 1,000 billion.
    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s?([kmb]?)", text.replace(",", "").lower())
    count = round(float(match[1]) * _SUFFIXES[match[2]]) if match else 0
    if not _LEAST <= count <= _MOST:
        raise ValueError(
            f"scale: '{text}' is not a number of parameters from {_LEAST:,} to 1,000 billion, "
            "such as 700M, 0.7B or 700000000"
        )
    return count


def scale_architecture(architecture: Architecture, parameters: int) -> Architecture:
    """Scale an architecture to a number of parameters and keep its pattern.

    1. The depth grows with the fourth root of the parameters. Published model families grow at
       about this rate (LFM2 has 16 layers at 350M and 30 at 2.6B), and on a device depth costs
       latency where width does not. Layers are added and removed in whole units of the part of the
       layout that repeats (`cca` in `ccaccacca`); the layers before and after that part are kept.
       A layout of which less than half repeats keeps its depth.
    2. The width is chosen so that the model, with its embedding width, heads and feed-forward
       scaled in proportion, is nearest to the target. It stays a multiple of 32 and of the head
       size if the given width is one. The number of heads is a multiple of the key/value heads.
       Key/value heads, head sizes, kernels, windows and the vocabulary are kept, because caches,
       context and the tokenizer determine them rather than the size of the model.
    3. All feed-forward widths are multiplied by one factor, in multiples of 32 if the given widths
       are, to remove the difference that the steps of depth and width leave.

    If these steps cannot reach the target (for tiny models, or if the embedding alone exceeds it),
    the nearest size is returned; see `scaling_remark`.

    Args:
        architecture: The architecture to scale.
        parameters: The target number of parameters.
    """
    total = parameter_counts(architecture).total
    if parameters == total:
        return architecture
    deep = replace(
        architecture, layers=_with_depth(architecture.layers, (parameters / total) ** 0.25)
    )
    step = _width_step(deep)
    wide = _nearest(
        parameters, _most_width(deep) // step, lambda steps: _with_width(deep, steps * step)
    )
    widest = max(layer.feed_forward_width for layer in wide.layers)
    grain = _grain(*(layer.feed_forward_width for layer in architecture.layers))
    return _nearest(
        parameters,
        _MOST_FEED_FORWARD // grain,
        lambda steps: _with_feed_forward(wide, steps * grain / widest, grain),
    )


def scaling_remark(architecture: Architecture, parameters: int) -> str | None:
    """Return a sentence if a scaled architecture misses its target by more than `TOLERANCE`."""
    total = parameter_counts(architecture).total
    if abs(total / parameters - 1) <= TOLERANCE:
        return None
    return (
        f"{parameters:,} parameters cannot be reached by scaling depth, width and feed-forward "
        f"width; the nearest size is {total:,}"
    )


def _nearest(parameters: int, most: int, candidate: Callable[[int], Architecture]) -> Architecture:
    """Return the candidate with the nearest number of parameters; they grow from 1 to `most`."""

    def count(steps: int) -> int:
        return parameter_counts(candidate(steps)).total

    enough = bisect.bisect_left(range(1, most), parameters, key=count) + 1
    return min(
        (candidate(steps) for steps in (max(1, enough - 1), enough)),
        key=lambda found: abs(parameter_counts(found).total - parameters),
    )


def _with_depth(layers: tuple[Layer, ...], growth: float) -> tuple[Layer, ...]:
    """Add or remove copies of the unit that repeats; at least one of them is kept."""
    run = _longest_run(layers)
    if run is None:
        return layers
    units = round(len(layers) * (growth - 1) / run.period)
    units = max(units, 1 - (run.end - run.start) // run.period)
    units = min(units, (_MOST_LAYERS - len(layers)) // run.period)
    unit = layers[run.start : run.start + run.period]
    if units >= 0:
        return layers[: run.start] + units * unit + layers[run.start :]
    return layers[: run.start] + layers[run.start - units * run.period :]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """The layers from `start` up to `end`, in which every layer equals the one `period` later."""

    start: int
    end: int
    period: int


def _longest_run(layers: tuple[Layer, ...]) -> _Run | None:
    """Return the longest part that repeats a unit and has at least half of all layers.

    If several units fit, the shortest one is returned.
    """
    runs: list[_Run] = []
    for period in range(1, len(layers) // 2 + 1):
        start = 0
        for index in range(period, len(layers) + 1):
            if index == len(layers) or layers[index] != layers[index - period]:
                runs.append(_Run(start=start, end=index, period=period))
                start = index - period + 1
    long = [run for run in runs if run.end - run.start >= max(2 * run.period, len(layers) / 2)]
    return max(long, key=lambda run: (run.end - run.start, -run.period), default=None)


def _width_step(architecture: Architecture) -> int:
    mixers = [layer.mixer for layer in architecture.layers]
    step = math.lcm(32, *(mixer.head_dim for mixer in mixers if isinstance(mixer, Attention)))
    return step if architecture.width % step == 0 else _grain(architecture.width)


def _most_width(architecture: Architecture) -> int:
    """Return the largest width at which heads and feed-forward are within their limits."""
    most_heads = max(1, *(_heads(layer.mixer) for layer in architecture.layers))
    widest = max(layer.feed_forward_width for layer in architecture.layers)
    growth = min(_MOST_HEADS // most_heads, _MOST_FEED_FORWARD // widest)
    return min(_MOST_WIDTH, growth * architecture.width)


def _with_width(architecture: Architecture, width: int) -> Architecture:
    """Change the width, and in proportion to it the embedding, the heads and the feed-forward."""
    growth = width / architecture.width
    grain = _grain(*(layer.feed_forward_width for layer in architecture.layers))
    narrow = architecture.embedding_width
    multiplier = architecture.embedding_multiplier
    return replace(
        architecture,
        width=width,
        embedding_width=min(width, _rounded(narrow * growth, _grain(narrow)))
        if architecture.factorised
        else width,
        layers=tuple(
            Layer(
                mixer=_with_heads(layer.mixer, growth),
                feed_forward_width=_rounded(layer.feed_forward_width * growth, grain),
            )
            for layer in architecture.layers
        ),
        # A multiplier other than 1 is the square root of the width (Gemma).
        embedding_multiplier=1.0 if multiplier == 1.0 else multiplier * math.sqrt(growth),
    )


def _heads(mixer: Mixer | None) -> int:
    """Return the number of heads, which grows with the width; 0 for a mixer without heads."""
    match mixer:
        case None | ShortConv():
            return 0
        case Attention(heads=heads) | LinearAttention(heads=heads):
            return heads
        case _:
            assert_never(mixer)


def _with_heads(mixer: Mixer | None, growth: float) -> Mixer | None:
    match mixer:
        case None | ShortConv():
            return mixer
        case Attention():
            return replace(mixer, heads=_rounded(mixer.heads * growth, mixer.kv_heads))
        case LinearAttention():
            return replace(mixer, heads=_rounded(mixer.heads * growth, 1))
        case _:
            assert_never(mixer)


def _with_feed_forward(architecture: Architecture, growth: float, grain: int) -> Architecture:
    return replace(
        architecture,
        layers=tuple(
            replace(layer, feed_forward_width=_rounded(layer.feed_forward_width * growth, grain))
            for layer in architecture.layers
        ),
    )


def _grain(*sizes: int) -> int:
    return next(grain for grain in _GRAINS if all(size % grain == 0 for size in sizes))


def _rounded(size: float, grain: int) -> int:
    """Round to the nearest multiple of `grain`, and to at least one of it."""
    return grain * max(1, math.floor(size / grain + 0.5))
