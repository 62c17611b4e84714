"""What one part of a model costs, as the difference of two models that were timed.

A mixer costs `(its probe - probe without mixer) / (convolution's probe - probe without mixer)`
short convolutions; the reference that all were timed beside drops out.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from evaluators.speed.operators.probe_times import Estimate, ProbeTimes, Profile, Sum
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
    """A part's time, in layers of the profile's first convolution, and in ms a token or a prompt.

    Of a mixer: of one layer, its norm included. Of the feed-forward: of one layer, for each time
    that it is as wide as the model. Of the vocabulary: an embedding and head of 65,536 tokens.
    """

    part: Part
    workload: Workload
    ratio: Estimate
    ms: Estimate


def operator_costs(profile: Profile) -> tuple[OperatorCost, ...]:
    """By part, then workload: all that the times of the profile suffice for."""
    times = ProbeTimes(profile)
    return tuple(_costs(times, profile.setting.layers))


def first_depth(costs: Iterable[OperatorCost], part: Part, ratio: float) -> Estimate | None:
    """Behind how many tokens a part's decoding passes so many convolutions; None if it never does.

    Drawn evenly between the depths that were timed, of which the shallowest stands for those below.
    The margin is that to the farther end of the interval.
    """
    decoding = [each for each in costs if each.part == part and each.workload.phase == "decode"]
    depths = [each.workload.depth for each in decoding]
    depth = _passes(depths, [each.ratio.value for each in decoding], ratio)
    if depth is None:
        return None
    lows = [each.ratio.low for each in decoding if each.ratio.low is not None]
    highs = [each.ratio.high for each in decoding if each.ratio.high is not None]
    ends = [_passes(depths, bound, ratio) for bound in (lows, highs) if len(bound) == len(depths)]
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
                own = _own(times, part, workload, layers)
                yield OperatorCost(
                    part=part,
                    workload=workload,
                    ratio=times.quotient(own, convolution - without),
                    ms=times.ms(times.value((1 / layers) * own), workload.phase),
                )


def _own(times: ProbeTimes, part: Part, workload: Workload, layers: int) -> Sum:
    """What as many of the part take as a probe has layers."""
    probe = times.at(part, workload)
    if part == FEED_FORWARD:
        return (1 / (WIDE_FEED_FORWARD - 1)) * (probe - times.at(times.parts[0], workload))
    if part == VOCABULARY:  # there is one
        told = REPORTED_VOCABULARY / (LARGE_VOCABULARY - SMALL_VOCABULARY)
        return layers * told * (probe - times.at(times.parts[0], workload))
    return probe - times.at(NO_MIXER, workload)


def _passes(depths: Sequence[int], ratios: Sequence[float], wanted: float) -> float | None:
    if not ratios or max(ratios) < wanted:
        return None
    if ratios[0] >= wanted:
        return float(depths[0])
    for (shallow, before), (deep, after) in pairwise(zip(depths, ratios, strict=True)):
        if after >= wanted:
            return shallow + (deep - shallow) * (wanted - before) / (after - before)
    raise AssertionError("the largest ratio is among them")
