"""Rules about layouts and sizes: checking, counting legal layouts, and finding the nearest one.

Legal layouts are counted, the cheapest one is found, and illegal layouts are repaired by dynamic
programming over the layers, from first to last. Which layers may follow depends only on a few facts
about the layers so far, the state (`_State`). Layouts in the same state are therefore handled
together, and no layouts are enumerated.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, TypeAlias, TypeVar

from search_space.architecture import ATTENTION_LETTERS, Architecture, LayoutLetter
from search_space.costs import parameter_counts, weight_bytes
from search_space.quantization import Quantization

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Rules that an architecture must obey in addition to the choices of its space.

    None means that there is no such rule.

    Attributes:
        attention_layers: Minimum and maximum number of layers with attention, full or windowed.
        first: Letters that the first layer may have.
        last: Letters that the last layer may have.
        longest_run_without_attention: Maximum number of consecutive layers without attention.
        parameters: Minimum and maximum number of parameters.
        weight_mb: Minimum and maximum size of the weights at the target's quantisation, in
            megabytes (1e6 bytes).
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    attention_layers: tuple[int, int] | None = None
    first: tuple[LayoutLetter, ...] | None = None
    last: tuple[LayoutLetter, ...] | None = None
    longest_run_without_attention: int | None = None
    parameters: tuple[int, int] | None = None
    weight_mb: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check_range("attention_layers", self.attention_layers)
        _check_range("parameters", self.parameters)
        _check_range("weight_mb", self.weight_mb)
        for name, letters in (("first", self.first), ("last", self.last)):
            if letters is not None and not 0 < len(letters) == len(set(letters)):
                raise ValueError(f"{name}: {list(letters)} is not one or more distinct letters")
        run = self.longest_run_without_attention
        if run is not None and run < 0:
            raise ValueError(f"longest_run_without_attention: {run} is not at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCheck:
    """The result of checking one architecture against one rule.

    Attributes:
        rule: The name of the rule.
        value: The architecture's value, as text.
        allowed: The allowed values, as text.
        excess: How far the value is outside the allowed range, as a fraction of the depth or of the
            size. It is positive if and only if the rule is broken.
    """

    rule: str
    value: str
    allowed: str
    excess: float

    def __str__(self) -> str:
        return f"{self.rule}: {self.value} is not {self.allowed}"


def check_layout(layout: str, rules: Rules) -> tuple[RuleCheck, ...]:
    """Check a layout against each rule about layouts that is set."""
    checks = []
    depth = len(layout)
    if rules.attention_layers is not None:
        fewest, most = rules.attention_layers
        count = sum(letter in ATTENTION_LETTERS for letter in layout)
        checks.append(
            RuleCheck(
                rule="attention_layers",
                value=str(count),
                allowed=f"between {fewest} and {most}",
                excess=max(fewest - count, count - most) / depth,
            )
        )
    for rule, letter, allowed in (
        ("first", layout[0], rules.first),
        ("last", layout[-1], rules.last),
    ):
        if allowed is not None:
            checks.append(
                RuleCheck(
                    rule=rule,
                    value=f"'{letter}'",
                    allowed=f"one of {', '.join(allowed)}",
                    excess=0.0 if letter in allowed else 1 / depth,
                )
            )
    if rules.longest_run_without_attention is not None:
        longest = rules.longest_run_without_attention
        run = max(map(len, re.split(f"[{ATTENTION_LETTERS}]", layout)))
        checks.append(
            RuleCheck(
                rule="longest_run_without_attention",
                value=str(run),
                allowed=f"at most {longest}",
                excess=(run - longest) / depth,
            )
        )
    return tuple(checks)


def check_size_rules(
    architecture: Architecture, rules: Rules, quantization: Quantization
) -> tuple[RuleCheck, ...]:
    """Check an architecture against each rule about sizes that is set.

    Args:
        architecture: The architecture to check.
        rules: The rules.
        quantization: The target's quantisation, which `weight_mb` refers to.
    """
    checks = []
    if rules.parameters is not None:
        total = parameter_counts(architecture).total
        checks.append(check_bounds("parameters", total, rules.parameters))
    if rules.weight_mb is not None:
        megabytes = weight_bytes(architecture, quantization) / 1e6
        checks.append(check_bounds("weight_mb", megabytes, rules.weight_mb))
    return tuple(checks)


def check_bounds(rule: str, size: float, bounds: tuple[float, float]) -> RuleCheck:
    """Check a size against the smallest and the largest allowed value."""
    fewest, most = bounds
    return RuleCheck(
        rule=rule,
        value=format_size(size),
        allowed=f"between {format_size(fewest)} and {format_size(most)}",
        excess=max(fewest - size, size - most) / size,
    )


def all_kept(checks: Iterable[RuleCheck]) -> bool:
    """Return whether no rule is violated."""
    return all(check.excess <= 0 for check in checks)


def layout_counts(
    depths: Iterable[int], letters: Iterable[LayoutLetter], rules: Rules
) -> dict[int, int]:
    """Count the layouts of these letters that obey the rules.

    Returns:
        The number of legal layouts by depth; depths without a legal layout are absent.
    """
    ways = dict.fromkeys(letters, 1)
    return _aggregate_layouts(depths, ways, rules, lambda a, b: a + b, lambda a, b: a * b, 1)


def least_costs(
    depths: Iterable[int], costs: Mapping[LayoutLetter, float], rules: Rules
) -> dict[int, float]:
    """Find the cost of the cheapest layout that obeys the rules.

    Args:
        depths: The depths to consider.
        costs: The cost of a layer, by letter; a layout costs the sum over its layers.
        rules: The rules.

    Returns:
        The lowest cost by depth; depths without a legal layout are absent.
    """
    return _aggregate_layouts(depths, costs, rules, min, lambda a, b: a + b, 0)


def format_size(size: float) -> str:
    """Format a size for a message: integers in full, other numbers with six digits."""
    return f"{size:,}" if isinstance(size, int) else f"{size:,.6g}"


def nearest_layout(layout: str, letters: Iterable[LayoutLetter], rules: Rules) -> str:
    """Return the legal layout that differs from `layout` in the fewest layers.

    If several layouts are equally near, a hash of `layout` selects one of them, each with the same
    probability. A fixed preference, such as changing the first layers, would bias a search towards
    attention in these layers.

    Raises:
        ValueError: No layout of this depth obeys the rules.
    """
    letters, depth = tuple(letters), len(layout)

    @cache
    def nearest(position: int, state: _State) -> _Nearest | None:
        """Find the completions from `position` on that are legal and have the fewest changes."""
        if position == depth:
            return _Nearest(changes=0, ways=1) if _accepts(state, rules) else None
        steps = []
        for letter in _letters_at(position, depth, letters, rules):
            after = _advance(state, letter, rules)
            rest = None if after is None else nearest(position + 1, after)
            if after is not None and rest is not None:
                changes = rest.changes + (letter != layout[position])
                steps.append(_Step(letter=letter, after=after, changes=changes, ways=rest.ways))
        if not steps:
            return None
        changes = min(step.changes for step in steps)
        best = tuple(step for step in steps if step.changes == changes)
        return _Nearest(changes=changes, ways=sum(step.ways for step in best), steps=best)

    spelled, found = "", nearest(0, _START)
    if found is None:
        raise ValueError(f"layout: no layout of {depth} layers obeys the rules")
    # The nearest layouts are numbered in the order of their steps; find the one with this number.
    number = int.from_bytes(hashlib.sha256(layout.encode()).digest()) % found.ways
    while found is not None and found.steps:
        for step in found.steps:
            if number < step.ways:
                break
            number -= step.ways
        spelled += step.letter
        found = nearest(len(spelled), step.after)
    return spelled


# What the rules need to know about the layers so far: the number of layers with attention, and the
# number of layers without attention since the last one with attention. A number that no rule limits
# stays 0, so that fewer states are distinguished.
_State: TypeAlias = tuple[int, int]
_START: _State = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A letter for one layer, and the best completions of the layout after it.

    changes: Changed layers in such a completion, including this one.
    ways: Number of such completions.
    """

    letter: LayoutLetter
    after: _State
    changes: int
    ways: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nearest:
    """The best completions of a layout; `steps` are the first letters that lead to them."""

    changes: int
    ways: int
    steps: tuple[_Step, ...] = ()


def _advance(state: _State, letter: str, rules: Rules) -> _State | None:
    """Return the state after one more layer, or None if this layer breaks a rule."""
    attention, run = state
    if letter in ATTENTION_LETTERS:
        run = 0
        if rules.attention_layers is not None:
            attention += 1
            if attention > rules.attention_layers[1]:
                return None
    elif rules.longest_run_without_attention is not None:
        run += 1
        if run > rules.longest_run_without_attention:
            return None
    return attention, run


def _accepts(state: _State, rules: Rules) -> bool:
    return rules.attention_layers is None or state[0] >= rules.attention_layers[0]


def _letters_at(
    position: int, depth: int, letters: Iterable[LayoutLetter], rules: Rules
) -> list[LayoutLetter]:
    return [
        letter
        for letter in letters
        if (position > 0 or rules.first is None or letter in rules.first)
        and (position < depth - 1 or rules.last is None or letter in rules.last)
    ]


def _aggregate_layouts(
    depths: Iterable[int],
    weights: Mapping[LayoutLetter, T],
    rules: Rules,
    add: Callable[[T, T], T],
    extend: Callable[[T, T], T],
    empty: T,
) -> dict[int, T]:
    """Aggregate a value over all legal layouts of each depth, by dynamic programming.

    The value of a layout combines the weights of its letters by `extend`, starting from `empty`;
    `add` combines the values of all layouts of a depth. As `extend` distributes over `add`, layouts
    in the same state are aggregated before they are extended. With all weights 1, (+, x) counts the
    layouts; (min, +) finds the cheapest one. Depths without a legal layout are absent.
    """

    def step(totals: dict[_State, T], position: int, depth: int) -> dict[_State, T]:
        """Extend the layouts with `position` layers, aggregated by state, by one layer."""
        following: dict[_State, T] = {}
        for state, total in totals.items():
            for letter in _letters_at(position, depth, weights, rules):
                after = _advance(state, letter, rules)
                if after is not None:
                    extended = extend(total, weights[letter])
                    known = following.get(after)
                    following[after] = extended if known is None else add(known, extended)
        return following

    results = {}
    totals = {_START: empty}
    wanted = set(depths)
    for position in range(max(wanted)):
        depth = position + 1
        if depth in wanted:
            # Only here is the layer the last one, to which the rule `last` applies.
            ends = step(totals, position, depth)
            accepted = [total for state, total in ends.items() if _accepts(state, rules)]
            if accepted:
                result = accepted[0]
                for total in accepted[1:]:
                    result = add(result, total)
                results[depth] = result
        totals = step(totals, position, max(wanted) + 1)
    return results


def _check_range(name: str, bounds: tuple[float, float] | None) -> None:
    if bounds is not None and not 0 <= bounds[0] <= bounds[1] < math.inf:
        low, high = bounds
        raise ValueError(
            f"{name}: {low} to {high} is not an ascending range that starts at 0 or more"
        )
