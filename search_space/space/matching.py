"""Architectures of equal size: the feed-forward makes up for the size of the other parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias

from search_space.architecture import Architecture
from search_space.costs import parameter_counts
from search_space.quantization import BLOCK
from search_space.space.rules import RuleCheck, check_bounds

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

    All layers get the same width if that is within 1 % of the size. Otherwise the first layers are
    one quantisation block wider than the others. If the bounds or the width of a block do not allow
    the size, the architecture nearest to it is returned; `check_matched` reports the difference.

    Args:
        architecture: The architecture; its own feed-forward widths are ignored.
        matched: The size.
        least: Smallest feed-forward width, a multiple of a block.
        most: Largest feed-forward width, a multiple of a block.
    """
    depth = len(architecture.layers)
    thin = _with_widths(architecture, [BLOCK] * depth)
    feed_forward = parameter_counts(thin).feed_forward
    # The parameters of one block in one layer, and the number of blocks that the size requires.
    block = feed_forward // depth
    blocks = (matched.parameters - counted_parameters(thin, matched) + feed_forward) / block
    low, high = least // BLOCK, most // BLOCK
    even = _between(low, round(blocks / depth), high)
    same = _with_widths(architecture, [even * BLOCK] * depth)
    if matched.least <= counted_parameters(same, matched) <= matched.most:
        return same
    each, wider = divmod(_between(depth * low, round(blocks), depth * high), depth)
    widths = [(each + (layer < wider)) * BLOCK for layer in range(depth)]
    return _with_widths(architecture, widths)


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


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))
