"""What a profile says in sentences, each computed from its figures and their intervals."""

import math
from collections.abc import Iterator, Sequence

from evaluators.speed.operators.additivity import additivity
from evaluators.speed.operators.operator_costs import OperatorCost, first_depth, operator_costs
from evaluators.speed.operators.probe_times import Estimate, Profile
from hardware.measurement import Phase
from search_space.probes import Part, make_probes

_LANDMARKS = (2.0, 3.0, 4.0)
# What is often said of attention and its kin beside a short convolution.
_SAID = (3.0, 4.0)


def findings(profile: Profile) -> Iterator[str]:
    """As far as the profile goes."""
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
    yield from _alike(costs, "attention", [part for part in letters if letters[part] == "s"])
    yield from _prefill(costs, others)
    yield from _said(costs, [part for part in others if letters[part] != "c"])
    yield from _added_up(profile)
    yield from _lost(profile, costs)


def _line(costs: Sequence[OperatorCost], part: Part, phase: Phase) -> list[OperatorCost]:
    """By depth."""
    return [cost for cost in costs if cost.part == part and cost.workload.phase == phase]


def _decoding(line: Sequence[OperatorCost], first: Part) -> str:
    part, shallow, deep = line[0].part, line[0], line[-1]
    if all(cost.ratio == shallow.ratio for cost in line):
        if _differ(shallow.ratio, Estimate(value=1.0, margin=0.0)) is False:
            return (
                f"decode: noise hides any difference of {part} ({_span(shallow.ratio)}) "
                f"from {first}"
            )
        return f"decode: {part} costs {_span(shallow.ratio)} short convolutions at any depth"
    said = (
        f"decode: {part} costs {_span(shallow.ratio)} short convolutions at depth "
        f"{shallow.workload.depth:,} and {_span(deep.ratio)} at {deep.workload.depth:,}"
    )
    passed = [
        f"{landmark:g} at about {_depth(depth)}"
        for landmark in _LANDMARKS
        if shallow.ratio.value < landmark
        and (depth := first_depth(line, part, landmark)) is not None
    ]
    return f"{said}; it passes {', '.join(passed)}" if passed else said


def _alike(costs: Sequence[OperatorCost], full: Part, windows: Sequence[Part]) -> Iterator[str]:
    """Up to which depth noise hides the difference."""
    whole = {cost.workload: cost for cost in _line(costs, full, "decode")}
    for window in windows:
        told = {
            cost.workload.depth: _differ(cost.ratio, whole[cost.workload].ratio)
            for cost in _line(costs, window, "decode")
            if cost.workload in whole
        }
        if not told or None in told.values():
            continue
        hidden = [depth for depth in told if not any(told[each] for each in told if each <= depth)]
        differing = [depth for depth in told if depth not in hidden]
        if not hidden:
            yield f"decode: {window} and {full} differ from depth {differing[0]:,} on"
        elif not differing:
            yield f"decode: noise hides any difference of {window} from {full}"
        else:
            yield (
                f"decode: noise hides any difference of {window} from {full} up to depth "
                f"{hidden[-1]:,}, not at {differing[0]:,}"
            )


def _prefill(costs: Sequence[OperatorCost], parts: Sequence[Part]) -> Iterator[str]:
    known = [cost for part in parts for cost in _line(costs, part, "prefill")]
    if known:
        each = ", ".join(f"{cost.part} {_span(cost.ratio)}" for cost in known)
        yield f"prefill of {known[0].workload.tokens:,}, in short convolutions: {each}"


def _said(costs: Sequence[OperatorCost], parts: Sequence[Part]) -> Iterator[str]:
    """How the 3 to 4 times that are often said of mixers stand here."""
    told = []
    for part in parts:
        line = _line(costs, part, "decode")
        if not line:
            continue
        lower, upper = (first_depth(line, part, each) for each in _SAID)
        shallowest, deepest = line[0].workload.depth, line[-1].workload.depth
        if lower is None:
            told.append(f"{part} costs less at every depth up to {deepest:,}")
        elif upper is not None and upper.value == shallowest:
            told.append(f"{part} costs more at every depth from {shallowest:,} on")
        else:
            since = f"from about {_depth(lower)} " if lower.value > shallowest else ""
            until = f"{deepest:,} at least" if upper is None else f"about {_depth(upper)}"
            told.append(f"{part} costs that {since}up to {until}")
    if told:
        yield (
            "decode: a mixer is often said to cost 3 to 4 short convolutions; here "
            f"{'; '.join(told)}"
        )


def _added_up(profile: Profile) -> Iterator[str]:
    ratios = [each.ratio for each in additivity(profile)]
    if not ratios:
        return
    values = [ratio.value for ratio in ratios]
    said = (
        f"the sum of the parts is {min(values):.2f} to {max(values):.2f} of what whole models take"
    )
    told = [_differ(ratio, Estimate(value=1.0, margin=0.0)) for ratio in ratios]
    if None in told:
        yield said
    elif True in told:
        yield f"{said}; {told.count(True)} of {len(told)} differ beyond the noise"
    else:
        yield f"{said}, which noise explains"


def _lost(profile: Profile, costs: Sequence[OperatorCost]) -> Iterator[str]:
    """What was timed, and tells nothing yet."""
    needed = [profile.probes[0]]
    needed += [model for model in profile.probes if set(model.architecture.layout) == {"-"}]
    timed = set.intersection(*({time.workload for time in model.times} for model in needed))
    lost = timed - {cost.workload for cost in costs}
    for workload in sorted(lost, key=lambda each: (each.phase, each.depth)):
        yield f"{workload}: noise hides what a short convolution takes; more --rounds may tell"


def _differ(one: Estimate, other: Estimate) -> bool | None:
    """Beyond the noise; None where that is not known."""
    if one.margin is None or other.margin is None:
        return None
    return abs(one.value - other.value) > math.hypot(one.margin, other.margin)


def _span(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"about {estimate.value:.2g}"
    digits = 2 if estimate.high - estimate.low < 0.2 else 1
    return f"{estimate.low:.{digits}f} to {estimate.high:.{digits}f}"


def _depth(depth: Estimate) -> str:
    """To two digits: it is drawn between depths that lie far apart."""
    digits = math.floor(math.log10(max(1.0, depth.value))) - 1
    return f"{round(depth.value, -max(0, digits)):,.0f}"
