"""An Architecture stretched to a number of parameters, its layout's pattern kept."""

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

# A model this near to what was asked for is what was asked for.
CLOSE = 0.02

_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_LEAST, _MOST = 1_000, 10**12
# Matrix kernels and quantised blocks like widths that are multiples of the first that fits.
_GRAINS = (32, 16, 8, 4, 2, 1)
# What an Architecture may have.
_MOST_WIDTH, _MOST_FEED_FORWARD, _MOST_HEADS, _MOST_LAYERS = 65_536, 262_144, 1_024, 256


def parse_parameters(text: str) -> int:
    """`700M`, `0.7B` or `700000000`; ValueError for anything else."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s?([kmb]?)", text.replace(",", "").lower())
    count = round(float(match[1]) * _SUFFIXES[match[2]]) if match else 0
    if not _LEAST <= count <= _MOST:
        raise ValueError(
            f"scale: '{text}' is not a number of parameters from {_LEAST:,} to 1,000 billion, "
            "such as 700M, 0.7B or 700000000"
        )
    return count


def scaled(architecture: Architecture, parameters: int) -> Architecture:
    """The architecture of about `parameters` parameters that is most like the given one.

    Depth first: it grows with the fourth root of the parameters. Families that are published at
    several sizes grow about so (LFM2 has 16 layers at 350M and 30 at 2.6B), and depth costs latency
    on a device where width does not. Layers come and go in whole units of the part of the layout
    that repeats (`cca` in `ccaccacca`), and what stands before and behind it stays. A layout of
    which less than half repeats keeps its depth.

    Then width: the multiple of 32 and of the head size, as far as the given one is, with which the
    rest comes nearest to the target when it grows in proportion. The number of heads follows the
    width, in multiples of the key/value heads; these, head sizes, kernels, windows and the
    vocabulary stay: they are set by caches, by context and by the tokenizer, not by size.

    Last the feed-forward widths, all by one factor and in multiples of 32, close what the steps of
    depth and width left open. A target that these steps do not meet (tiny models, or more
    vocabulary than parameters) gets the nearest that they do; see `CLOSE`.
    """
    total = parameter_counts(architecture).total
    if parameters == total:
        return architecture
    deep = replace(
        architecture, layers=_stretched(architecture.layers, (parameters / total) ** 0.25)
    )
    step = _width_step(deep)
    wide = _nearest(
        parameters, _most_width(deep) // step, lambda steps: _widened(deep, steps * step)
    )
    widest = max(layer.feed_forward_width for layer in wide.layers)
    grain = _grain(*(layer.feed_forward_width for layer in architecture.layers))
    return _nearest(
        parameters,
        _MOST_FEED_FORWARD // grain,
        lambda steps: _fed(wide, steps * grain / widest, grain),
    )


def missed(architecture: Architecture, parameters: int) -> str | None:
    """A sentence where an architecture was stretched to `parameters` and is not that near to it."""
    total = parameter_counts(architecture).total
    if abs(total / parameters - 1) <= CLOSE:
        return None
    return (
        f"{parameters:,} parameters were asked for; the nearest that depth, width and feed-forward "
        f"reach is {total:,}"
    )


def _nearest(parameters: int, most: int, candidate: Callable[[int], Architecture]) -> Architecture:
    """Of the candidates 1 to `most`, which grow, the one whose parameters are nearest."""

    def count(steps: int) -> int:
        return parameter_counts(candidate(steps)).total

    enough = bisect.bisect_left(range(1, most), parameters, key=count) + 1
    return min(
        (candidate(steps) for steps in (max(1, enough - 1), enough)),
        key=lambda found: abs(parameter_counts(found).total - parameters),
    )


def _stretched(layers: tuple[Layer, ...], growth: float) -> tuple[Layer, ...]:
    """More or fewer of the unit that repeats; one of it stays."""
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
    """Layers from `start` to before `end`, each equal to the one `period` layers on."""

    start: int
    end: int
    period: int


def _longest_run(layers: tuple[Layer, ...]) -> _Run | None:
    """The longest part that repeats at least once and is half of all layers; the shortest unit."""
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
    """As far as the heads and the feed-forward may grow with it."""
    mixers = [layer.mixer for layer in architecture.layers]
    heads = [m.heads for m in mixers if isinstance(m, Attention | LinearAttention)]
    widest = max(layer.feed_forward_width for layer in architecture.layers)
    growth = min(_MOST_HEADS // max(heads, default=1), _MOST_FEED_FORWARD // widest)
    return min(_MOST_WIDTH, growth * architecture.width)


def _widened(architecture: Architecture, width: int) -> Architecture:
    """That width, and in proportion to it the embedding, the heads and the feed-forward."""
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
        # Where there is one, it is the root of the width.
        embedding_multiplier=1.0 if multiplier == 1.0 else multiplier * math.sqrt(growth),
    )


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


def _fed(architecture: Architecture, growth: float, grain: int) -> Architecture:
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
    """To the nearest multiple, at least one of it."""
    return grain * max(1, math.floor(size / grain + 0.5))
