"""Architectures of equal cost: the feed-forward makes up for the cost of the other parts."""

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias

from search_space.architecture import Architecture
from search_space.costs import parameter_counts
from search_space.quantization import BLOCK
from search_space.space.rules import RuleCheck, check_bounds

# Costs match if they differ by at most this fraction.
TOLERANCE = 0.01

Counted: TypeAlias = Literal["total", "non_embedding"]


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


def counted_parameters(architecture: Architecture, matched: Matched) -> int:
    """Return the number of parameters that `matched.count` selects."""
    counts = parameter_counts(architecture)
    return counts.total - (counts.embedding if matched.count == "non_embedding" else 0)


def match_size(architecture: Architecture, matched: Matched, least: int, most: int) -> Architecture:
    """Choose the feed-forward widths of an architecture so that it has a given size.

    See `match_cost`; `check_matched` reports a size that cannot be reached.
    """
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
    cost: Callable[[Architecture], float],
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
    low, high = least // BLOCK, most // BLOCK

    def even(blocks: int) -> Architecture:
        return _with_widths(architecture, [blocks * BLOCK] * depth)

    def uneven(blocks: int) -> Architecture:
        each, wider = divmod(blocks, depth)
        return _with_widths(
            architecture, [(each + (layer < wider)) * BLOCK for layer in range(depth)]
        )

    same = _nearest(even, range(low, high + 1), target, cost)
    if abs(cost(same) - target) <= TOLERANCE * target:
        return same
    return _nearest(uneven, range(depth * low, depth * high + 1), target, cost)


def check_matched(architecture: Architecture, matched: Matched) -> RuleCheck:
    """Check whether an architecture has the matched size."""
    hidden = sum(layer.feed_forward_width for layer in architecture.layers)
    multiple = hidden / len(architecture.layers) / architecture.width
    what = "parameters" if matched.count == "total" else "parameters outside the embedding"
    size = counted_parameters(architecture, matched)
    check = check_bounds("matched", size, (matched.least, matched.most))
    return replace(check, value=f"{check.value} {what} (with feed_forward = {multiple:.3g})")


def _with_widths(architecture: Architecture, widths: Sequence[int]) -> Architecture:
    return replace(
        architecture,
        layers=tuple(
            replace(layer, feed_forward_width=width)
            for layer, width in zip(architecture.layers, widths, strict=True)
        ),
    )


def _nearest(
    with_blocks: Callable[[int], Architecture],
    numbers: range,
    target: float,
    cost: Callable[[Architecture], float],
) -> Architecture:
    """Return the architecture whose cost is nearest to the target; costs grow with the number."""
    above = bisect.bisect_left(numbers, target, key=lambda number: cost(with_blocks(number)))
    around = numbers[max(0, above - 1) : above + 1]
    return min(map(with_blocks, around), key=lambda each: abs(cost(each) - target))
