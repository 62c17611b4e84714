"""The space of a search: its choices and rules, and the range of sizes that they reach."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from search_space.architecture import Architecture, LayoutLetter
from search_space.costs import parameter_counts, weight_bytes
from search_space.quantization import BLOCK, Quantization
from search_space.space.design_point import DesignPoint, build, feed_forward_bounds, reads_choice
from search_space.space.matching import (
    Cost,
    Matched,
    MatchedLatency,
    check_matched,
    counted_parameters,
    with_matched_cost,
)
from search_space.space.rules import (
    RuleCheck,
    check_layout,
    check_size_rules,
    format_size,
    layout_counts,
    least_costs,
)
from search_space.space.rules import Rules as Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The choices and rules of a search.

    The mixer is chosen for each layer, and everything else once per model. The values of a choice
    are distinct; numbers are in ascending order.

    Attributes:
        depth: Numbers of layers.
        width: Channels of the residual stream.
        mixers: Letters of the mixers; see `MIXERS` in `search_space.architecture`.
        feed_forward: Hidden channels of the feed-forwards, as multiples of the width.
        vocab_size: Numbers of tokens in the vocabulary.
        kernel: Kernel lengths of short convolutions, in tokens.
        head_dim: Channels per head.
        kv_heads: Numbers of key/value heads. A number that does not divide the number of heads is
            rounded down to one that does.
        window: Windows of sliding-window attention, in tokens.
        embedding_share: Widths of the embedding, as fractions of the width. The embedding is
            factorised if the fraction is less than 1.
        matched: The size, or the predicted latency, that all architectures have. The feed-forward
            is then not a choice but computed to fit, and `feed_forward` is its smallest and largest
            multiple of the width.
        rules: Rules that architectures must obey.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    depth: tuple[int, ...]
    width: tuple[int, ...]
    mixers: tuple[LayoutLetter, ...]
    feed_forward: tuple[float, ...]
    vocab_size: tuple[int, ...]
    kernel: tuple[int, ...] = (3,)
    head_dim: tuple[int, ...] = (64,)
    kv_heads: tuple[int, ...] = (8,)
    window: tuple[int, ...] = (512,)
    embedding_share: tuple[float, ...] = (1.0,)
    matched: Matched | MatchedLatency | None = None
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        _check_choices("depth", self.depth, 1, 128)
        _check_choices("width", self.width, BLOCK, 16_384, multiple_of=BLOCK)
        _check_choices("feed_forward", self.feed_forward, 0.1, 16)
        _check_choices("vocab_size", self.vocab_size, 256, 1_048_576)
        _check_choices("kernel", self.kernel, 1, 256)
        # onnxruntime's GroupQueryAttention rotates only heads of 16, 32, 48, ... channels.
        _check_choices("head_dim", self.head_dim, 16, 1_024, multiple_of=16)
        _check_choices("kv_heads", self.kv_heads, 1, 1_024)
        _check_choices("window", self.window, 1, 1_048_576)
        _check_choices("embedding_share", self.embedding_share, 0.01, 1)
        if not 0 < len(self.mixers) == len(set(self.mixers)):
            raise ValueError(f"mixers: {list(self.mixers)} is not one or more distinct letters")
        if reads_choice(self.mixers, "head_dim"):
            for width, head_dim in itertools.product(self.width, self.head_dim):
                if width % head_dim:
                    raise ValueError(f"width: {width} is not a multiple of head_dim = {head_dim}")
        _check_layouts(self)
        _check_matched(self)
        bounds = self.rules.parameters
        if bounds is not None and not _reaches(self, _parameters, *bounds):
            reached = parameter_range(self)
            _check_reached("parameters", bounds, reached.least, reached.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The smallest and the largest value of a size.

    Attributes:
        least: The smallest value.
        most: The largest value.
    """

    least: int
    most: int


def with_matched_feed_forward(
    architecture: Architecture, space: Space, latency: Cost | None = None
) -> Architecture:
    """Choose the feed-forward widths that match the size or latency of the space, if it has one.

    Args:
        architecture: The architecture.
        space: The space.
        latency: Returns the predicted latency of an architecture; None if there is no prediction.
    """
    least, most = feed_forward_bounds(architecture.width, space.feed_forward)
    return with_matched_cost(architecture, space.matched, latency, least=least, most=most)


def broken_rule(architecture: Architecture, space: Space, quantization: Quantization) -> str | None:
    """Return a sentence about the first rule that an architecture breaks, or None.

    A latency to be matched is not checked.

    Args:
        architecture: The architecture to check.
        space: The space with the rules.
        quantization: The target's quantisation.
    """
    checks = (
        *check_layout(architecture.layout, space.rules),
        *check_sizes(architecture, space, quantization),
    )
    return next((str(check) for check in checks if check.excess > 0), None)


def check_sizes(
    architecture: Architecture,
    space: Space,
    quantization: Quantization,
    latency: Cost | None = None,
) -> tuple[RuleCheck, ...]:
    """Check an architecture against the size or latency to be matched and the rules about sizes.

    Args:
        architecture: The architecture to check.
        space: The space with the rules.
        quantization: The target's quantisation.
        latency: Returns the predicted latency of an architecture. Without it, a latency to be
            matched is not checked.
    """
    return (
        *check_matched(architecture, space.matched, latency),
        *check_size_rules(architecture, space.rules, quantization),
    )


def parameter_range(space: Space) -> Range:
    """Return the range of parameters that the choices and the rules about layouts allow.

    The range is exact. If a size is to be matched, it is instead a bound on the architectures that
    match it.
    """
    return _range(space, _parameters)


def weight_range(space: Space, quantization: Quantization) -> Range:
    """Return the range of weight bytes; see `parameter_range`."""
    return _range(space, lambda architecture: weight_bytes(architecture, quantization))


def check_weight_rule(space: Space, quantization: Quantization) -> None:
    """Check that some architecture of the space obeys `rules.weight_mb`.

    Raises:
        ValueError: No architecture does.
    """
    if space.rules.weight_mb is not None:
        reached = weight_range(space, quantization)
        _check_reached("weight_mb", space.rules.weight_mb, reached.least / 1e6, reached.most / 1e6)


def _range(space: Space, cost: Cost) -> Range:
    """Return the range of a cost that is a sum over layers.

    The cost grows with most choices, which are set to their first or last value. Two choices do not
    have this property, and all their values are tried: a factorised embedding adds projections, and
    a larger head adds parameters to linear attention and removes others. All widths are tried, too.
    """
    return Range(
        least=math.ceil(min(_lowest_cost(space, point, cost) for point in _points(space, 0))),
        most=math.floor(max(_highest_cost(space, point, cost) for point in _points(space, -1))),
    )


def _points(space: Space, end: Literal[0, -1]) -> Iterator[DesignPoint]:
    """Yield points without a layout, at one end of the choices that costs grow with."""
    for width, head_dim, share in itertools.product(
        space.width, space.head_dim, space.embedding_share
    ):
        yield DesignPoint(
            layout="",
            width=width,
            feed_forward=space.feed_forward[end],
            vocab_size=space.vocab_size[end],
            kernel=space.kernel[end],
            head_dim=head_dim,
            kv_heads=space.kv_heads[end],
            window=space.window[end],
            embedding_share=share,
        )


def _reaches(space: Space, cost: Cost, least: int, most: int) -> bool:
    """Return whether the range of a cost overlaps with these bounds.

    In most spaces one of the first points decides. The exact range would take 0.1 s, and every
    command reads a study.
    """
    widest_first = reversed([*_points(space, -1)])
    return any(_lowest_cost(space, point, cost) <= most for point in _points(space, 0)) and any(
        _highest_cost(space, point, cost) >= least for point in widest_first
    )


def _lowest_cost(space: Space, point: DesignPoint, cost: Cost) -> float:
    matched = space.matched
    lowest = _at_size(matched.least, cost, matched) if isinstance(matched, Matched) else cost
    return _least(space, point, lowest)


def _highest_cost(space: Space, point: DesignPoint, cost: Cost) -> float:
    matched = space.matched
    highest = _at_size(matched.most, cost, matched) if isinstance(matched, Matched) else cost
    return -_least(space, point, lambda architecture: -highest(architecture))


def _at_size(size: int, cost: Cost, matched: Matched) -> Cost:
    """Return the cost that an architecture has if its feed-forwards give it this size."""

    def at_size(architecture: Architecture) -> float:
        first, *rest = architecture.layers
        wider = replace(first, feed_forward_width=first.feed_forward_width + BLOCK)
        other = replace(architecture, layers=(wider, *rest))
        before = counted_parameters(architecture, matched)
        after = counted_parameters(other, matched)
        slope = (cost(other) - cost(architecture)) / (after - before)
        return cost(architecture) + slope * (size - before)

    return at_size


def _least(space: Space, point: DesignPoint, cost: Cost) -> float:
    """Return the lowest cost of any legal layout at a point, from the costs of single layers."""

    def of(layout: str) -> float:
        return cost(build(replace(point, layout=layout)))

    one_layer = of("-")
    layer_costs = {letter: of(f"-{letter}") - one_layer for letter in space.mixers}
    no_layer = 2 * one_layer - of("--")
    return no_layer + min(least_costs(space.depth, layer_costs, space.rules).values())


def _parameters(architecture: Architecture) -> int:
    return parameter_counts(architecture).total


def _check_choices(
    name: str, values: Sequence[float], least: float, most: float, multiple_of: int = 0
) -> None:
    if not values:
        raise ValueError(f"{name}: [] is not a list of one or more choices")
    for value in values:
        if not least <= value <= most:
            raise ValueError(f"{name}: {value} is not between {least} and {most:,}")
        if multiple_of and value % multiple_of:
            raise ValueError(f"{name}: {value} is not a multiple of {multiple_of}")
    if list(values) != sorted(set(values)):
        raise ValueError(f"{name}: {list(values)} is not in ascending order without duplicates")


def _check_matched(space: Space) -> None:
    matched = space.matched
    if matched is None:
        return
    if len(space.feed_forward) != 2:
        raise ValueError(
            f"feed_forward: {list(space.feed_forward)} is not a list of two values, which matched "
            "requires: the smallest and the largest multiple of the width"
        )
    if isinstance(matched, MatchedLatency):
        # Which latencies the space reaches is known only when some have been measured.
        return

    def size(architecture: Architecture) -> int:
        return counted_parameters(architecture, matched)

    free = replace(space, matched=None)
    if not _reaches(free, size, matched.least, matched.most):
        reached = _range(free, size)
        raise ValueError(
            f"matched.parameters: {matched.parameters:,} is out of reach; the choices allow "
            f"{reached.least:,} to {reached.most:,}"
        )


def _check_layouts(space: Space) -> None:
    """Check that every depth has a legal layout, and name the rule that leaves none."""
    rules, letters = space.rules, ", ".join(space.mixers)
    for name, ends in (("first", rules.first), ("last", rules.last)):
        for letter in ends or ():
            if letter not in space.mixers:
                raise ValueError(f"rules.{name}: '{letter}' is not one of the mixers {letters}")
    possible = layout_counts(space.depth, space.mixers, rules)
    for depth in space.depth:
        if depth not in possible:
            rule = _contradictory_rule(space, depth)
            raise ValueError(f"rules{rule} is not possible with {depth} layers of {letters}")


def _contradictory_rule(space: Space, depth: int) -> str:
    """Return the first rule, with its value, without which the depth has a legal layout."""
    rules = space.rules
    without = {
        "attention_layers": replace(rules, attention_layers=None),
        "longest_run_without_attention": replace(rules, longest_run_without_attention=None),
        "first": replace(rules, first=None),
        "last": replace(rules, last=None),
    }
    for name, others in without.items():
        if layout_counts([depth], space.mixers, others):
            asked = getattr(rules, name)
            return f".{name}: {asked if isinstance(asked, int) else list(asked)}"
    return ": obeying all of them"


def _check_reached(rule: str, bounds: tuple[float, float], least: float, most: float) -> None:
    if most < bounds[0] or least > bounds[1]:
        raise ValueError(
            f"rules.{rule}: {format_size(bounds[0])} to {format_size(bounds[1])} is out of reach; "
            f"the choices allow {format_size(least)} to {format_size(most)}"
        )
