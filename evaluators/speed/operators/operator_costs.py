"""The cost of one part of a model, as the difference between the times of two models.

A mixer costs `(its probe - probe without mixer) / (convolution's probe - probe without mixer)`
short convolutions. The reference model that all probes were timed against cancels out.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from evaluators.speed.operators.probe_times import Estimate, ProbeSum, ProbeTimes, Profile
from hardware.measurement import Workload
from search_space.probes import (
    FEED_FORWARD,
    LARGE_VOCABULARY,
    NO_MIXER,
    REPORTED_VOCABULARY,
    SMALL_VOCABULARY,
    VOCABULARY,
    WIDE_FEED_FORWARD,
    Part,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCost:
    """The cost of one part at one workload.

    The cost of a mixer is that of one layer, with its norm. The cost of the feed-forward is that of
    one layer whose feed-forward is as wide as the model. The cost of the vocabulary is that of an
    embedding and a head of 65,536 tokens.

    Attributes:
        part: The part of the model.
        workload: The workload.
        ratio: The cost in layers of the profile's first short convolution.
        ms: The time in milliseconds per token (decode) or per prompt (prefill).
    """

    part: Part
    workload: Workload
    ratio: Estimate
    ms: Estimate


def operator_costs(profile: Profile) -> tuple[OperatorCost, ...]:
    """Return the costs that can be computed from a profile, by part and then by workload."""
    times = ProbeTimes(profile)
    return tuple(_costs(times, profile.setting.layers))


def first_depth(costs: Iterable[OperatorCost], part: Part, ratio: float) -> Estimate | None:
    """Return the smallest context depth at which decoding with a part costs at least `ratio`.

    Costs are interpolated linearly between the depths that were timed. If the smallest of these
    depths already costs as much, it is returned. The margin is the distance to the farther end of
    the interval.

    Args:
        costs: The costs of a profile.
        part: The part of the model.
        ratio: The cost in short convolutions.

    Returns:
        The depth in tokens, or None if the cost stays below `ratio`.
    """
    decoding = [each for each in costs if each.part == part and each.workload.phase == "decode"]
    depths = [each.workload.depth for each in decoding]
    depth = _crossing(depths, [each.ratio.value for each in decoding], ratio)
    if depth is None:
        return None
    lows = [each.ratio.low for each in decoding if each.ratio.low is not None]
    highs = [each.ratio.high for each in decoding if each.ratio.high is not None]
    ends = [_crossing(depths, bound, ratio) for bound in (lows, highs) if len(bound) == len(depths)]
    known = [abs(end - depth) for end in ends if end is not None]
    return Estimate(value=depth, margin=max(known) if len(known) == 2 else None)


def _costs(times: ProbeTimes, layers: int) -> Iterator[OperatorCost]:
    for part in times.parts:
        for workload in times.workloads:
            if part == NO_MIXER:
                continue
            with contextlib.suppress(ValueError):  # not timed, or not yet
                without = times.at(NO_MIXER, workload)
                convolution = times.at(times.parts[0], workload)
                own = _own_time(times, part, workload, layers)
                yield OperatorCost(
                    part=part,
                    workload=workload,
                    ratio=times.quotient(own, convolution - without),
                    ms=times.ms(times.value((1 / layers) * own), workload.phase),
                )


def _own_time(times: ProbeTimes, part: Part, workload: Workload, layers: int) -> ProbeSum:
    """Return the time of a part alone, once for each layer of a probe."""
    probe = times.at(part, workload)
    if part == FEED_FORWARD:
        return (1 / (WIDE_FEED_FORWARD - 1)) * (probe - times.at(times.parts[0], workload))
    if part == VOCABULARY:  # a model has one, not one per layer
        scale = REPORTED_VOCABULARY / (LARGE_VOCABULARY - SMALL_VOCABULARY)
        return layers * scale * (probe - times.at(times.parts[0], workload))
    return probe - times.at(NO_MIXER, workload)


def _crossing(depths: Sequence[int], ratios: Sequence[float], level: float) -> float | None:
    """Return the smallest depth at which the interpolated ratios reach a level, if they do."""
    if not ratios or max(ratios) < level:
        return None
    if ratios[0] >= level:
        return float(depths[0])
    for (shallow, before), (deep, after) in pairwise(zip(depths, ratios, strict=True)):
        if after >= level:
            return shallow + (deep - shallow) * (level - before) / (after - before)
    raise AssertionError("the largest ratio is among them")
