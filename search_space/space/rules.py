"""What a layout and a size must obey; legal layouts are counted, and the nearest one is found."""

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
    """What a layout or a size must obey beside being one of the choices; None asks for nothing.

    attention_layers: fewest and most layers with attention, windowed or full.
    first, last: the letters that the first and the last layer may have.
    longest_run_without_attention: most layers in a row that hold no attention.
    parameters: fewest and most parameters.
    weight_mb: fewest and most megabytes (1e6 bytes) of weights at the target's quantisation.
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
                raise ValueError(f"{name}: {list(letters)} is not one or more different letters")
        run = self.longest_run_without_attention
        if run is not None and run < 0:
            raise ValueError(f"longest_run_without_attention: {run} is not 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCheck:
    """How one architecture stands to one rule.

    excess: above 0 if, and only if, the rule is broken: how far beyond what is allowed, as a share
        of the depth or of the size.
    """

    rule: str
    value: str
    allowed: str
    excess: float

    def __str__(self) -> str:
        return f"{self.rule}: {self.value} is not {self.allowed}"


def check_layout(layout: str, rules: Rules) -> tuple[RuleCheck, ...]:
    """One check for each rule of layouts that is set."""
    checks = []
    depth = len(layout)
    if rules.attention_layers is not None:
        fewest, most = rules.attention_layers
        count = sum(letter in ATTENTION_LETTERS for letter in layout)
        checks.append(
            RuleCheck(
                rule="attention_layers",
                value=str(count),
                allowed=f"{fewest} to {most}",
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


def check_size(
    architecture: Architecture, rules: Rules, quantization: Quantization
) -> tuple[RuleCheck, ...]:
    """One check for each rule of sizes that is set; `quantization` is the target's."""
    checks = []
    if rules.parameters is not None:
        total = parameter_counts(architecture).total
        checks.append(size_check("parameters", total, rules.parameters))
    if rules.weight_mb is not None:
        megabytes = weight_bytes(architecture, quantization) / 1e6
        checks.append(size_check("weight_mb", megabytes, rules.weight_mb))
    return tuple(checks)


def size_check(rule: str, size: float, bounds: tuple[float, float]) -> RuleCheck:
    """How a size stands to the fewest and the most that are allowed."""
    fewest, most = bounds
    return RuleCheck(
        rule=rule,
        value=written(size),
        allowed=f"{written(fewest)} to {written(most)}",
        excess=max(fewest - size, size - most) / size,
    )


def layout_counts(
    depths: Iterable[int], letters: Iterable[LayoutLetter], rules: Rules
) -> dict[int, int]:
    """How many layouts of these letters obey the rules, for each depth."""
    ways = dict.fromkeys(letters, 1)
    return _over_layouts(depths, ways, rules, lambda a, b: a + b, lambda a, b: a * b, 1)


def least_costs(
    depths: Iterable[int], costs: Mapping[LayoutLetter, float], rules: Rules
) -> dict[int, float]:
    """What the cheapest legal layout costs, for each depth that has one; `costs` are a layer's."""
    return _over_layouts(depths, costs, rules, min, lambda a, b: a + b, 0)


def written(size: float) -> str:
    """A size as a sentence shows it: whole numbers whole, others to six digits."""
    return f"{size:,}" if isinstance(size, int) else f"{size:,.6g}"


def nearest_layout(layout: str, letters: Iterable[LayoutLetter], rules: Rules) -> str:
    """The legal layout that differs from `layout` in the fewest layers.

    Where several are as near, a hash of `layout` picks one, each as likely as the others: always
    changing, say, the first layers would favour attention there. ValueError where none is legal.
    """
    letters, depth = tuple(letters), len(layout)

    @cache
    def nearest(position: int, state: _State) -> _Nearest | None:
        """Of the ways to spell the layers from `position` on, those with the fewest changes."""
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
    # The nearest layouts are numbered in the order in which the steps spell them.
    number = int.from_bytes(hashlib.sha256(layout.encode()).digest()) % found.ways
    while found is not None and found.steps:
        for step in found.steps:
            if number < step.ways:
                break
            number -= step.ways
        spelled += step.letter
        found = nearest(len(spelled), step.after)
    return spelled


# What the rules have to know of the layers so far: how many hold attention (where that is limited),
# and how many at the end hold none (where that is).
_State: TypeAlias = tuple[int, int]
_START: _State = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    letter: LayoutLetter
    after: _State
    changes: int
    ways: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nearest:
    changes: int
    ways: int
    steps: tuple[_Step, ...] = ()


def _advance(state: _State, letter: str, rules: Rules) -> _State | None:
    """The state one layer on; None where a rule is broken for good."""
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


def _over_layouts(
    depths: Iterable[int],
    weights: Mapping[LayoutLetter, T],
    rules: Rules,
    add: Callable[[T, T], T],
    extend: Callable[[T, T], T],
    empty: T,
) -> dict[int, T]:
    """`add` over all legal layouts of a depth of `extend` over a layout's letters; none: absent.

    One pass over the layouts' states in place of the layouts: with (+, x) it counts them, with
    (min, +) it finds the cheapest.
    """

    def step(totals: dict[_State, T], position: int, depth: int) -> dict[_State, T]:
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
        raise ValueError(f"{name}: {low} to {high} is not a range from 0 or more upwards")
