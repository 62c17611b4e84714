"""The time of a whole model as the sum of its parts' times, and how far that holds.

A layer counts as one of its mixer's probe: mixer, a feed-forward as wide as the model, and its
share of all the rest. What its feed-forward is wider, and the head, come on top.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from evaluators.operators.probe_times import (
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
    Kinds,
    Part,
    make_probes,
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


def additive_ms(
    profiles: Sequence[Profile], architecture: Architecture, workload: Workload
) -> Estimate:
    """The time of a whole model as the sum of its parts, in ms a token or a prompt.

    Attention is drawn evenly between the depths that were timed; feed-forward and head grow in
    proportion; between two widths times are drawn evenly over the width's square, with which nearly
    all weights grow. The margin holds what is known of the parts, not how well they add up.
    `profiles` differ in width alone. Raises ValueError, with one sentence, for what they do not
    cover.
    """
    by_width = {profile.setting.width: profile for profile in profiles}
    if len({replace(profile.setting, width=0, layers=0) for profile in profiles}) != 1:
        raise ValueError("profiles: they are none, or differ in more than their width")
    width = architecture.width
    parts = _parts(architecture, profiles[0].setting.kinds)
    below = [each for each in by_width if each <= width]
    above = [each for each in by_width if each >= width]
    if not below or not above:
        raise ValueError(f"width: {width} is not within the widths profiled, {sorted(by_width)}")
    low, high = max(below), min(above)
    times = [_model_ms(by_width[each], architecture, parts, workload) for each in (low, high)]
    share = (width**2 - low**2) / (high**2 - low**2) if high > low else 0.0
    shares = (1 - share, share)
    return Estimate(
        value=sum(each * time.value for time, each in zip(times, shares, strict=True)),
        margin=root_of_squares(
            None if time.margin is None else each * time.margin
            for time, each in zip(times, shares, strict=True)
        ),
    )


def _additivity(profile: Profile) -> Iterator[Additivity]:
    times = ProbeTimes(profile)
    for model in profile.models:
        parts = _parts(model.architecture, profile.setting.kinds)
        for time in model.times:
            with contextlib.suppress(ValueError):  # parts that failed, or are not timed yet
                whole = _whole(times, profile.setting, model.architecture, parts, time.workload)
                yield Additivity(
                    architecture=model.architecture,
                    workload=time.workload,
                    predicted=times.value(whole),
                    measured=times.estimate(time),
                )


def _model_ms(
    profile: Profile, architecture: Architecture, parts: Sequence[Part], workload: Workload
) -> Estimate:
    """Of the architecture scaled to the profile's width."""
    times = ProbeTimes(profile)
    whole = _whole(times, profile.setting, architecture, parts, workload)
    return times.ms(times.value(whole), workload.phase)


def _whole(
    times: ProbeTimes,
    setting: Setting,
    architecture: Architecture,
    parts: Sequence[Part],
    workload: Workload,
) -> Sum:
    """In units of the reference's time."""
    total = NOTHING
    for part, count in Counter(parts).items():
        total += (count / setting.layers) * times.at(part, workload)
    first = times.at(times.parts[0], workload)
    wider = sum(layer.feed_forward_width / architecture.width - 1 for layer in architecture.layers)
    width_of_probe = (WIDE_FEED_FORWARD - 1) * setting.layers
    total += (wider / width_of_probe) * (times.at(FEED_FORWARD, workload) - first)
    rows = architecture.vocab_size - SMALL_VOCABULARY * len(parts) / setting.layers
    rows_of_probe = LARGE_VOCABULARY - SMALL_VOCABULARY
    return total + (rows / rows_of_probe) * (times.at(VOCABULARY, workload) - first)


def _parts(architecture: Architecture, kinds: Kinds) -> list[Part]:
    """The part that each layer's mixer is; ValueError for what no probe has."""
    options = {
        "embedding_width": architecture.embedding_width == architecture.width,
        "sandwich_norm": not architecture.sandwich_norm,
        "activation": architecture.activation == "silu",
    }
    for name, is_profiled in options.items():
        if not is_profiled:
            raise ValueError(f"{name}: {getattr(architecture, name)} is not what probes have")
    probes = [each for each in make_probes(architecture.width, 1, kinds) if each.letter is not None]
    known = {probe.architecture.layers[0].mixer: probe.part for probe in probes}
    for layer in architecture.layers:
        if layer.mixer not in known:
            raise ValueError(f"mixer: {layer.mixer} is not among those profiled")
    return [known[layer.mixer] for layer in architecture.layers]
