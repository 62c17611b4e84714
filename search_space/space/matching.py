"""Architectures of equal cost: the feed-forward makes up for the cost of the other parts."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar, Literal, TypeAlias, assert_never

from search_space.architecture import Architecture, architecture_hash
from search_space.costs import parameter_counts
from search_space.quantization import BLOCK
from search_space.space.rules import RuleCheck, check_bounds

# Costs match if they differ by at most this fraction.
TOLERANCE = 0.01

Counted: TypeAlias = Literal["total", "non_embedding"]
Cost: TypeAlias = Callable[[Architecture], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The size that all architectures of a space should have, within 1 %.

    Attributes:
        parameters: The number of parameters.
        count: Which parameters are counted: all of them, or those outside the embedding.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    parameters: int
    count: Counted = "total"

    def __post_init__(self) -> None:
        if self.parameters < 1:
            raise ValueError(f"parameters: {self.parameters} is not at least 1")

    @property
    def least(self) -> int:
        """The smallest number of parameters that matches."""
        return self.parameters - self.parameters // 100

    @property
    def most(self) -> int:
        """The largest number of parameters that matches."""
        return self.parameters + self.parameters // 100


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedLatency:
    """The predicted latency that all architectures of a space should have, within 1 %.

    Attributes:
        latency: The latency, in the unit of the score.
        score: The name of the score. The study decides which scores are latencies.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    latency: float
    score: str = "decode"

    def __post_init__(self) -> None:
        if not 0 < self.latency < math.inf:
            raise ValueError(f"latency: {self.latency} is not above 0")

    @property
    def least(self) -> float:
        """The lowest latency that matches."""
        return self.latency * (1 - TOLERANCE)

    @property
    def most(self) -> float:
        """The highest latency that matches."""
        return self.latency * (1 + TOLERANCE)


def counted_parameters(architecture: Architecture, matched: Matched) -> int:
    """Return the number of parameters that `matched.count` selects."""
    counts = parameter_counts(architecture)
    return counts.total - (counts.embedding if matched.count == "non_embedding" else 0)


def with_matched_cost(
    architecture: Architecture,
    matched: Matched | MatchedLatency | None,
    latency: Cost | None,
    *,
    least: int,
    most: int,
) -> Architecture:
    """Choose the feed-forward widths of an architecture so that it has the cost to be matched.

    See `match_cost`; `check_matched` reports a cost that cannot be reached.

    Args:
        architecture: The architecture. Without a cost to be matched, it is returned unchanged.
        matched: The cost.
        latency: Returns the predicted latency of an architecture; None if there is no prediction
            yet. The widths are then not matched; see `with_unmatched_width`.
        least: Smallest feed-forward width, a multiple of a block.
        most: Largest feed-forward width, a multiple of a block.
    """
    match matched:
        case None:
            return architecture
        case Matched():
            return match_size(architecture, matched, least, most)
        case MatchedLatency() if latency is None:
            return with_unmatched_width(architecture, least=least, most=most)
        case MatchedLatency():
            return match_cost(architecture, matched.latency, latency, least=least, most=most)
        case _:
            assert_never(matched)


def match_size(architecture: Architecture, matched: Matched, least: int, most: int) -> Architecture:
    """Choose the feed-forward widths of an architecture so that it has a given size."""
    return match_cost(
        architecture,
        matched.parameters,
        lambda each: counted_parameters(each, matched),
        least=least,
        most=most,
    )


def match_cost(
    architecture: Architecture,
    target: float,
    cost: Cost,
    *,
    least: int,
    most: int,
) -> Architecture:
    """Choose the feed-forward widths of an architecture so that it has a given cost.

    All layers get the same width if the cost is then within 1 % of the target. Otherwise the first
    layers are one quantisation block wider than the others. If the bounds or the width of a block
    do not allow the cost, the architecture nearest to it is returned.

    Args:
        architecture: The architecture; its own feed-forward widths are ignored.
        target: The cost.
        cost: Returns the cost of an architecture. It never falls when a feed-forward gets wider.
        least: Smallest feed-forward width, a multiple of a block.
        most: Largest feed-forward width, a multiple of a block.
    """
    depth = len(architecture.layers)

    @cache
    def cost_of(blocks: int) -> float:
        return cost(with_feed_forward_blocks(architecture, blocks))

    even = range(depth * (least // BLOCK), depth * (most // BLOCK) + 1, depth)
    around = _around(even, target, cost_of)
    blocks = _nearest(around, target, cost_of)
    if abs(cost_of(blocks) - target) > TOLERANCE * target:
        uneven = range(around[0], around[-1] + 1)
        blocks = _nearest(_around(uneven, target, cost_of), target, cost_of)
    return with_feed_forward_blocks(architecture, blocks)


def feed_forward_blocks(architecture: Architecture) -> int:
    """Return the number of quantisation blocks in the feed-forward widths of all layers."""
    return sum(layer.feed_forward_width for layer in architecture.layers) // BLOCK


def with_feed_forward_blocks(architecture: Architecture, blocks: int) -> Architecture:
    """Distribute a number of blocks over the feed-forwards as evenly as possible.

    If the layers cannot have the same width, the first ones are one block wider than the others.

    Args:
        architecture: The architecture; its own feed-forward widths are ignored.
        blocks: The number of blocks in all layers together, at least one per layer.
    """
    each, wider = divmod(blocks, len(architecture.layers))
    widths = [(each + (layer < wider)) * BLOCK for layer in range(len(architecture.layers))]
    return replace(
        architecture,
        layers=tuple(
            layer if layer.feed_forward_width == width else replace(layer, feed_forward_width=width)
            for layer, width in zip(architecture.layers, widths, strict=True)
        ),
    )


def with_unmatched_width(architecture: Architecture, *, least: int, most: int) -> Architecture:
    """Give all feed-forwards of an architecture one width between two bounds.

    A hash of the architecture selects the width, so that architectures which differ in anything
    else have independent widths, and all widths are equally frequent.

    Args:
        architecture: The architecture.
        least: Smallest feed-forward width, a multiple of a block.
        most: Largest feed-forward width, a multiple of a block.
    """
    widths = range(least // BLOCK, most // BLOCK + 1)
    chosen = widths[int(architecture_hash(architecture), 16) % len(widths)]
    return with_feed_forward_blocks(architecture, chosen * len(architecture.layers))


def check_matched(
    architecture: Architecture, matched: Matched | MatchedLatency | None, latency: Cost | None
) -> tuple[RuleCheck, ...]:
    """Check whether an architecture has the cost to be matched.

    Args:
        architecture: The architecture.
        matched: The cost.
        latency: Returns the predicted latency of an architecture; None if there is no prediction.

    Returns:
        One result; none if there is nothing to be matched, or no prediction of it.
    """
    match matched:
        case None:
            return ()
        case Matched():
            bounds: tuple[float, float] = (matched.least, matched.most)
            check = check_bounds("matched", counted_parameters(architecture, matched), bounds)
            outside = "" if matched.count == "total" else " outside the embedding"
            value = f"{check.value} parameters{outside}"
        case MatchedLatency() if latency is None:
            return ()
        case MatchedLatency():
            bounds = (matched.least, matched.most)
            check = check_bounds("matched", latency(architecture), bounds)
            value = f"a predicted {matched.score} of {check.value}"
        case _:
            assert_never(matched)
    hidden = sum(layer.feed_forward_width for layer in architecture.layers)
    multiple = hidden / len(architecture.layers) / architecture.width
    return (replace(check, value=f"{value} (with feed_forward = {multiple:.3g})"),)


def _nearest(numbers: range, target: float, cost_of: Callable[[int], float]) -> int:
    return min(numbers, key=lambda number: abs(cost_of(number) - target))


def _around(numbers: range, target: float, cost_of: Callable[[int], float]) -> range:
    """Return the two successive numbers whose costs enclose a target, or the end nearest to it.

    Costs grow with the numbers, nearly linearly in most cases. Interpolation therefore finds the
    two in few steps. Every third step halves the range, so that there are never many.
    """
    low, high = 0, len(numbers) - 1
    if cost_of(numbers[low]) >= target:
        return numbers[:1]
    if cost_of(numbers[high]) < target:
        return numbers[high:]
    for step in itertools.count():
        if high - low == 1:
            break
        middle = (low + high) // 2
        if step % 3 < 2:
            below, above = cost_of(numbers[low]), cost_of(numbers[high])
            middle = low + math.ceil((high - low) * (target - below) / (above - below))
            middle = min(max(middle, low + 1), high - 1)
        if cost_of(numbers[middle]) < target:
            low = middle
        else:
            high = middle
    return numbers[low : high + 1]
