"""The time of a whole model as the sum of its parts' times, and how far that holds.

A layer counts as one of its mixer's probe: mixer, a feed-forward as wide as the model, and its
share of all the rest. What its feed-forward is wider, and the head, come on top.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from evaluators.speed.operators.probe_times import (
    NOTHING,
    Estimate,
    ProbeTimes,
    Profile,
    Setting,
    Sum,
    root_of_squares,
)
from hardware.measurement import Workload
from search_space.architecture import Architecture
from search_space.probes import (
    FEED_FORWARD,
    LARGE_VOCABULARY,
    SMALL_VOCABULARY,
    VOCABULARY,
    WIDE_FEED_FORWARD,
    part_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Additivity:
    """A whole model's time over the reference's: the sum of its parts, and what was measured."""

    architecture: Architecture
    workload: Workload
    predicted: Estimate
    measured: Estimate

    @property
    def ratio(self) -> Estimate:
        """Predicted over measured."""
        value = self.predicted.value / self.measured.value
        share = root_of_squares(
            None if each.margin is None else each.margin / each.value
            for each in (self.predicted, self.measured)
        )
        return Estimate(value=value, margin=None if share is None else share * value)


def additivity(profile: Profile) -> tuple[Additivity, ...]:
    """Of the whole models, at each workload at which both they and their parts were timed."""
    return tuple(_additivity(profile))


def _additivity(profile: Profile) -> Iterator[Additivity]:
    times = ProbeTimes(profile)
    for model in profile.models:
        for time in model.times:
            with contextlib.suppress(ValueError):  # parts that failed, or are not timed yet
                whole = _whole(times, profile.setting, model.architecture, time.workload)
                yield Additivity(
                    architecture=model.architecture,
                    workload=time.workload,
                    predicted=times.value(whole),
                    measured=times.estimate(time),
                )


def _whole(
    times: ProbeTimes,
    setting: Setting,
    architecture: Architecture,
    workload: Workload,
) -> Sum:
    """In units of the reference's time. Raises ValueError where a part was not timed."""
    total = NOTHING
    parts = Counter(part_of(layer.mixer) for layer in architecture.layers)
    for part, count in parts.items():
        total += (count / setting.layers) * times.at(part, workload)
    first = times.at(times.parts[0], workload)
    wider = sum(layer.feed_forward_width / architecture.width - 1 for layer in architecture.layers)
    width_of_probe = (WIDE_FEED_FORWARD - 1) * setting.layers
    total += (wider / width_of_probe) * (times.at(FEED_FORWARD, workload) - first)
    rows = architecture.vocab_size - SMALL_VOCABULARY * parts.total() / setting.layers
    rows_of_probe = LARGE_VOCABULARY - SMALL_VOCABULARY
    return total + (rows / rows_of_probe) * (times.at(VOCABULARY, workload) - first)
