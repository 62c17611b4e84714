"""Findings of a profile: the costs of the parts of a layer, as sentences with intervals."""

import math
from collections.abc import Iterator, Sequence

from evaluators.speed.operators.additivity import additivity
from evaluators.speed.operators.operator_costs import OperatorCost, first_depth, operator_costs
from evaluators.speed.operators.probe_times import Estimate, Profile
from hardware.measurement import Phase
from nas.findings.wording import joined
from search_space.architecture import MIXERS
from search_space.probes import Part, make_probes

_LANDMARKS = (2.0, 3.0, 4.0)
# The cost of attention in short convolutions, as it is often quoted.
_QUOTED_RATIOS = (3.0, 4.0)


def profile_findings(profile: Profile) -> Iterator[str]:
    """Yield what a profile shows, as clauses without a full stop.

    Args:
        profile: The profile; it may be incomplete.
    """
    costs = operator_costs(profile)
    setting = profile.setting
    letters = {
        probe.part: probe.letter
        for probe in make_probes(setting.width, setting.layers, setting.kinds)
        if probe.letter is not None
    }
    first, *others = letters
    for part in others:
        line = _line(costs, part, "decode")
        if line:
            yield _decoding(line, first)
    windowed = [part for part, letter in letters.items() if "window" in MIXERS[letter].choices]
    yield from _windows(costs, "attention", windowed)
    yield from _prefill(costs, others)
    yield from _quoted_costs(costs, [part for part in others if letters[part] != letters[first]])
    yield from _additivity(profile)
    yield from _unresolved(profile, costs)


def _line(costs: Sequence[OperatorCost], part: Part, phase: Phase) -> list[OperatorCost]:
    """Return the costs of a part in order of depth."""
    return [cost for cost in costs if cost.part == part and cost.workload.phase == phase]


def _decoding(line: Sequence[OperatorCost], first: Part) -> str:
    part, shallow, deep = line[0].part, line[0], line[-1]
    if all(cost.ratio == shallow.ratio for cost in line):
        if _differ(shallow.ratio, Estimate(value=1.0, margin=0.0)) is False:
            return (
                f"decode: the costs of {part} ({_span(shallow.ratio)} short convolutions) and "
                f"{first} do not differ significantly"
            )
        return f"decode: {part} costs {_span(shallow.ratio)} short convolutions at any depth"
    text = (
        f"decode: {part} costs {_span(shallow.ratio)} short convolutions at depth "
        f"{shallow.workload.depth:,} and {_span(deep.ratio)} at depth {deep.workload.depth:,}"
    )
    passed = [
        f"{landmark:g} from about depth {_depth(depth)} on"
        for landmark in _LANDMARKS
        if shallow.ratio.value < landmark
        and (depth := first_depth(line, part, landmark)) is not None
    ]
    return f"{text}; it exceeds {joined(passed)}" if passed else text


def _windows(costs: Sequence[OperatorCost], full: Part, windows: Sequence[Part]) -> Iterator[str]:
    """State from which depth on windows differ significantly from full attention."""
    whole = {cost.workload: cost for cost in _line(costs, full, "decode")}
    for window in windows:
        differs = {
            cost.workload.depth: _differ(cost.ratio, whole[cost.workload].ratio)
            for cost in _line(costs, window, "decode")
            if cost.workload in whole
        }
        if not differs or None in differs.values():
            continue
        equal = [
            depth
            for depth in differs
            if not any(differs[each] for each in differs if each <= depth)
        ]
        differing = [depth for depth in differs if depth not in equal]
        if not equal:
            yield f"decode: {window} and {full} differ significantly from depth {differing[0]:,} on"
        elif not differing:
            yield f"decode: {window} and {full} do not differ significantly"
        else:
            yield (
                f"decode: {window} and {full} do not differ significantly up to depth "
                f"{equal[-1]:,}, but do at {differing[0]:,}"
            )


def _prefill(costs: Sequence[OperatorCost], parts: Sequence[Part]) -> Iterator[str]:
    known = [cost for part in parts for cost in _line(costs, part, "prefill")]
    if known:
        each = ", ".join(f"{cost.part} {_span(cost.ratio)}" for cost in known)
        yield f"prefill of {known[0].workload.tokens:,} tokens, in short convolutions: {each}"


def _quoted_costs(costs: Sequence[OperatorCost], parts: Sequence[Part]) -> Iterator[str]:
    """Compare mixers with the 3 to 4 short convolutions that they are often said to cost."""
    clauses = []
    for part in parts:
        line = _line(costs, part, "decode")
        if not line:
            continue
        lower, upper = (first_depth(line, part, each) for each in _QUOTED_RATIOS)
        shallowest, deepest = line[0].workload.depth, line[-1].workload.depth
        if lower is None:
            clauses.append(f"{part} costs less at every depth up to {deepest:,}")
        elif upper is not None and upper.value == shallowest:
            clauses.append(f"{part} costs more at every depth from {shallowest:,} on")
        else:
            since = f"from about depth {_depth(lower)} " if lower.value > shallowest else ""
            until = (
                f"at least depth {deepest:,}" if upper is None else f"about depth {_depth(upper)}"
            )
            clauses.append(f"{part} costs that much {since}up to {until}")
    if clauses:
        yield (
            "decode: a mixer is often said to cost 3 to 4 short convolutions; here, "
            f"{'; '.join(clauses)}"
        )


def _additivity(profile: Profile) -> Iterator[str]:
    ratios = [each.ratio for each in additivity(profile)]
    if not ratios:
        return
    values = [ratio.value for ratio in ratios]
    text = (
        f"the sum of the parts is {min(values):.2f} to {max(values):.2f} times the measured time "
        "of whole models"
    )
    differs = [_differ(ratio, Estimate(value=1.0, margin=0.0)) for ratio in ratios]
    if None in differs:
        yield text
    elif True in differs:
        yield f"{text}; {differs.count(True)} of {len(differs)} differ significantly from 1"
    else:
        yield f"{text}; none differ significantly from 1"


def _unresolved(profile: Profile, costs: Sequence[OperatorCost]) -> Iterator[str]:
    """Name the workloads that were timed but give no cost yet."""
    needed = [profile.probes[0]]
    needed += [model for model in profile.probes if set(model.architecture.layout) == {"-"}]
    timed = set.intersection(*({time.workload for time in model.times} for model in needed))
    unresolved = timed - {cost.workload for cost in costs}
    for workload in sorted(unresolved, key=lambda each: (each.phase, each.depth)):
        yield (
            f"{workload}: the time of a short convolution is within the noise; increase --rounds "
            "to resolve it"
        )


def _differ(one: Estimate, other: Estimate) -> bool | None:
    """Return whether two estimates differ significantly; None if a margin is unknown."""
    if one.margin is None or other.margin is None:
        return None
    return abs(one.value - other.value) > math.hypot(one.margin, other.margin)


def _span(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"about {estimate.value:.2g}"
    digits = 2 if estimate.high - estimate.low < 0.2 else 1
    return f"{estimate.low:.{digits}f} to {estimate.high:.{digits}f}"


def _depth(depth: Estimate) -> str:
    """Round to two digits, since the depth is interpolated between depths that are far apart."""
    digits = math.floor(math.log10(max(1.0, depth.value))) - 1
    return f"{round(depth.value, -max(0, digits)):,.0f}"
