"""Architectures of one size: the feed-forward takes up what the other choices leave."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias

from search_space.architecture import Architecture
from search_space.costs import parameter_counts
from search_space.quantization import BLOCK
from search_space.space.rules import RuleCheck, size_check

Counted: TypeAlias = Literal["total", "non_embedding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The size that every architecture is to have, within 1 %.

    count: which parameters are counted, all of them or those outside the embedding.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    parameters: int
    count: Counted = "total"

    def __post_init__(self) -> None:
        if self.parameters < 1:
            raise ValueError(f"parameters: {self.parameters} is not 1 or more")

    @property
    def least(self) -> int:
        return self.parameters - self.parameters // 100

    @property
    def most(self) -> int:
        return self.parameters + self.parameters // 100


def counted(architecture: Architecture, matched: Matched) -> int:
    counts = parameter_counts(architecture)
    return counts.total - (counts.embedding if matched.count == "non_embedding" else 0)


def with_size(architecture: Architecture, matched: Matched, least: int, most: int) -> Architecture:
    """The same with feed-forwards of `least` to `most` channels that give it the size, if they can.

    All layers get one width where that comes within 1 %; else the first ones are a block wider than
    the rest. Both bounds are whole blocks; where neither they nor a block allow the size, the
    nearest to it is what comes back, and `check_matched` says so.
    """
    depth = len(architecture.layers)
    thin = _with_widths(architecture, [BLOCK] * depth)
    feed_forward = parameter_counts(thin).feed_forward
    # What one block more in one layer adds, and how many of them the size asks for.
    block = feed_forward // depth
    blocks = (matched.parameters - counted(thin, matched) + feed_forward) / block
    low, high = least // BLOCK, most // BLOCK
    even = _between(low, round(blocks / depth), high)
    same = _with_widths(architecture, [even * BLOCK] * depth)
    if matched.least <= counted(same, matched) <= matched.most:
        return same
    each, wider = divmod(_between(depth * low, round(blocks), depth * high), depth)
    widths = [(each + (layer < wider)) * BLOCK for layer in range(depth)]
    return _with_widths(architecture, widths)


def check_matched(architecture: Architecture, matched: Matched) -> RuleCheck:
    hidden = sum(layer.feed_forward_width for layer in architecture.layers)
    multiple = hidden / len(architecture.layers) / architecture.width
    what = "parameters" if matched.count == "total" else "parameters outside the embedding"
    check = size_check("matched", counted(architecture, matched), (matched.least, matched.most))
    return replace(check, value=f"{check.value} {what}, with feed_forward = {multiple:.3g},")


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
