"""Predicts the time of a whole model as the sum of its parts' times, and compares it with its own.

A layer is counted as one layer of its mixer's probe, which has the mixer, a feed-forward as wide as
the model and a proportional part of everything else. The costs of a wider feed-forward and of a
larger vocabulary are added.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from evaluators.speed.operators.probe_times import (
    ZERO,
    Estimate,
    ProbeSum,
    ProbeTimes,
    Profile,
    Setting,
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
    """The predicted and the measured time of a whole model, in units of the reference model's time.

    Attributes:
        architecture: The whole model.
        workload: The workload.
        predicted: The sum of the parts' times.
        measured: The time of the whole model.
    """

    architecture: Architecture
    workload: Workload
    predicted: Estimate
    measured: Estimate

    @property
    def ratio(self) -> Estimate:
        """The predicted time divided by the measured time."""
        value = self.predicted.value / self.measured.value
        relative = root_of_squares(
            None if each.margin is None else each.margin / each.value
            for each in (self.predicted, self.measured)
        )
        return Estimate(value=value, margin=None if relative is None else relative * value)


def additivity(profile: Profile) -> tuple[Additivity, ...]:
    """Compare whole models with the sums of their parts, for each workload with times of both."""
    return tuple(_additivity(profile))


def _additivity(profile: Profile) -> Iterator[Additivity]:
    times = ProbeTimes(profile)
    for model in profile.models:
        for time in model.times:
            with contextlib.suppress(ValueError):  # a part failed or has not been timed yet
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
) -> ProbeSum:
    """Return the sum of a model's parts; raise ValueError if a part was not timed."""
    total = ZERO
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
