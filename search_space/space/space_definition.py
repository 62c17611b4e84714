"""The choices on offer to a search, what they may be together, and what they reach."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, Literal, TypeAlias

from search_space.architecture import Architecture, LayoutLetter
from search_space.costs import parameter_counts, weight_bytes
from search_space.quantization import BLOCK, Quantization
from search_space.space.design_point import DesignPoint, build, feed_forward_width, reads_choice
from search_space.space.matching import Matched, check_matched, counted, with_size
from search_space.space.rules import (
    RuleCheck,
    check_layout,
    check_size,
    layout_counts,
    least_costs,
    written,
)
from search_space.space.rules import Rules as Rules

_Cost: TypeAlias = Callable[[Architecture], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Choices, each in its natural order; mixers are chosen layer by layer, the rest once a model.

    mixers: `c` gated short convolution, `a` full attention, `s` sliding-window attention,
        `l` gated linear attention, `-` none.
    feed_forward: hidden channels of the feed-forward as multiples of the width.
    matched: the size of all architectures. The feed-forward is then no choice but made to fit, and
        `feed_forward` is its least and its most multiple.
    kernel: of the short convolution, in tokens.
    kv_heads: key/value heads; a choice that does not divide the heads is rounded down to one that
        does.
    embedding_share: embedding width as a share of the width; below 1 the embedding is factorised.
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
    matched: Matched | None = None
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        _check_choices("depth", self.depth, 1, 128)
        _check_choices("width", self.width, BLOCK, 16_384, multiple_of=BLOCK)
        _check_choices("feed_forward", self.feed_forward, 0.1, 16)
        _check_choices("vocab_size", self.vocab_size, 256, 1_048_576)
        _check_choices("kernel", self.kernel, 1, 256)
        # onnxruntime's GroupQueryAttention rotates heads of 16, 32, 48, ... only.
        _check_choices("head_dim", self.head_dim, 16, 1_024, multiple_of=16)
        _check_choices("kv_heads", self.kv_heads, 1, 1_024)
        _check_choices("window", self.window, 1, 1_048_576)
        _check_choices("embedding_share", self.embedding_share, 0.01, 1)
        if not 0 < len(self.mixers) == len(set(self.mixers)):
            raise ValueError(f"mixers: {list(self.mixers)} is not one or more different letters")
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
    least: int
    most: int


def fitted(architecture: Architecture, space: Space) -> Architecture:
    """The same with the feed-forward that the space's size asks for, where it asks for one."""
    if space.matched is None:
        return architecture
    least, most = (feed_forward_width(architecture.width, each) for each in space.feed_forward)
    return with_size(architecture, space.matched, least, most)


def broken_rule(architecture: Architecture, space: Space, quantization: Quantization) -> str | None:
    """The first rule that is broken, as a sentence; `quantization` is the target's."""
    checks = (
        *check_layout(architecture.layout, space.rules),
        *check_sizes(architecture, space, quantization),
    )
    return next((str(check) for check in checks if check.excess > 0), None)


def check_sizes(
    architecture: Architecture, space: Space, quantization: Quantization
) -> tuple[RuleCheck, ...]:
    """One check for each rule of sizes that is set, and for the size that is to be matched."""
    checks = check_size(architecture, space.rules, quantization)
    if space.matched is None:
        return checks
    return check_matched(architecture, space.matched), *checks


def parameter_range(space: Space) -> Range:
    """Fewest and most parameters of what the choices and the rules of layouts reach; exact.

    Where a size is to be matched, bounds on what matches it.
    """
    return _range(space, _parameters)


def weight_range(space: Space, quantization: Quantization) -> Range:
    """Fewest and most bytes of weights, likewise."""
    return _range(space, lambda architecture: weight_bytes(architecture, quantization))


def check_weight_rule(space: Space, quantization: Quantization) -> None:
    """ValueError where no architecture of the space can obey `rules.weight_mb`."""
    if space.rules.weight_mb is not None:
        reached = weight_range(space, quantization)
        _check_reached("weight_mb", space.rules.weight_mb, reached.least / 1e6, reached.most / 1e6)


def check_layouts_only(space: Space) -> None:
    """ValueError where the space offers more than layouts of one size."""
    no_choice = {"mixers", "matched", "rules"}
    if space.matched is not None:
        no_choice.add("feed_forward")
    names = [choice.name for choice in fields(Space) if choice.name not in no_choice]
    several = [
        f"{name}: {list(getattr(space, name))}" for name in names if len(getattr(space, name)) > 1
    ]
    if several:
        *others, last = several
        said = f"{', '.join(others)} and {last} are" if others else f"{last} is"
        each = " each" if others else ""
        raise ValueError(f"{said} not one size{each}, and layouts need one")


def _range(space: Space, cost: _Cost) -> Range:
    """Bounds of a cost that is a sum over layers and grows with every choice but two.

    Those two are tried one by one: a factorised embedding adds projections, and the size of a head
    pulls both ways in linear attention.
    """
    return Range(
        least=math.ceil(min(_cheapest(space, point, cost) for point in _points(space, 0))),
        most=math.floor(max(_dearest(space, point, cost) for point in _points(space, -1))),
    )


def _points(space: Space, end: Literal[0, -1]) -> Iterator[DesignPoint]:
    """Points without a layout whose growing choices are all the first or all the last."""
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


def _reaches(space: Space, cost: _Cost, least: int, most: int) -> bool:
    """Whether the range of a cost meets these bounds: in most spaces, some first point tells.

    The exact range takes a tenth of a second, and every command reads a study.
    """
    widest_first = reversed([*_points(space, -1)])
    return any(_cheapest(space, point, cost) <= most for point in _points(space, 0)) and any(
        _dearest(space, point, cost) >= least for point in widest_first
    )


def _cheapest(space: Space, point: DesignPoint, cost: _Cost) -> float:
    matched = space.matched
    return _least(space, point, _at_size(matched.least, cost, matched) if matched else cost)


def _dearest(space: Space, point: DesignPoint, cost: _Cost) -> float:
    matched = space.matched
    dearest = _at_size(matched.most, cost, matched) if matched else cost
    return -_least(space, point, lambda architecture: -dearest(architecture))


def _at_size(size: int, cost: _Cost, matched: Matched) -> _Cost:
    """What an architecture would cost if its feed-forward gave it that size."""

    def at_size(architecture: Architecture) -> float:
        first, *rest = architecture.layers
        wider = replace(first, feed_forward_width=first.feed_forward_width + BLOCK)
        other = replace(architecture, layers=(wider, *rest))
        now, then = counted(architecture, matched), counted(other, matched)
        slope = (cost(other) - cost(architecture)) / (then - now)
        return cost(architecture) + slope * (size - now)

    return at_size


def _least(space: Space, point: DesignPoint, cost: _Cost) -> float:
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
        raise ValueError(f"{name}: [] is not one or more choices")
    for value in values:
        if not least <= value <= most:
            raise ValueError(f"{name}: {value} is not between {least} and {most:,}")
        if multiple_of and value % multiple_of:
            raise ValueError(f"{name}: {value} is not a multiple of {multiple_of}")
    if list(values) != sorted(set(values)):
        raise ValueError(f"{name}: {list(values)} is not in rising order, each value once")


def _check_matched(space: Space) -> None:
    matched = space.matched
    if matched is None:
        return
    if len(space.feed_forward) != 2:
        raise ValueError(
            f"feed_forward: {list(space.feed_forward)} is not two values, the least and the most "
            "that may be taken to match a size"
        )

    def size(architecture: Architecture) -> int:
        return counted(architecture, matched)

    free = replace(space, matched=None)
    if not _reaches(free, size, matched.least, matched.most):
        reached = _range(free, size)
        raise ValueError(
            f"matched.parameters: {matched.parameters:,} is not within reach of the choices, which "
            f"give {reached.least:,} to {reached.most:,}"
        )


def _check_layouts(space: Space) -> None:
    """Every depth must have a legal layout; the rule that leaves none is named."""
    rules, letters = space.rules, ", ".join(space.mixers)
    for name, ends in (("first", rules.first), ("last", rules.last)):
        for letter in ends or ():
            if letter not in space.mixers:
                raise ValueError(f"rules.{name}: '{letter}' is not among the mixers, {letters}")
    possible = layout_counts(space.depth, space.mixers, rules)
    for depth in space.depth:
        if depth not in possible:
            rule = _contradictory_rule(space, depth)
            raise ValueError(f"rules{rule} is not possible with {depth} layers of {letters}")


def _contradictory_rule(space: Space, depth: int) -> str:
    """The first rule without which the depth has a legal layout, and what it asks for."""
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
    return ": keeping all of them"


def _check_reached(rule: str, bounds: tuple[float, float], least: float, most: float) -> None:
    if most < bounds[0] or least > bounds[1]:
        raise ValueError(
            f"rules.{rule}: {written(bounds[0])} to {written(bounds[1])} is not within reach of "
            f"the choices, which give {written(least)} to {written(most)}"
        )
