"""Predicts the latency that candidates are matched to, and records their feed-forwards in trials.

The prediction is fitted to all measurements on the device so far. It changes with each of them, so
the feed-forwards that it required are recorded with the Optuna trial of a candidate. They are the
parameter FEED_FORWARD_BLOCKS, which has a single possible value in each trial. No sampler chooses
it, and trials that differ only in it are the same point for a sampler.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from evaluators.evaluator import Evaluator
from evaluators.scores import definition_of
from evaluators.speed.cost_estimate import FEWEST_MEASUREMENTS, CostEstimate
from evaluators.speed.workload_parts import Parts, parts_of
from search_space.architecture import Architecture
from search_space.space.encoding import (
    FixedSuggester,
    Parameters,
    RandomSuggester,
    Suggester,
    draw,
)
from search_space.space.matching import (
    Cost,
    MatchedLatency,
    check_matched,
    feed_forward_blocks,
    with_feed_forward_blocks,
)
from search_space.space.space_definition import Space
from studies.spec.study_spec import StudySpec
from studies.storage.store import Store

FEED_FORWARD_BLOCKS = "feed_forward_blocks"

# From this number of measurements on, a prediction by which hardly any layout reaches the latency
# is believed. Before that, some of the layouts that are tried must reach it, since a search ends if
# 500 consecutive draws do not.
_ENOUGH_TO_REJECT_ALL = 12
_LAYOUTS_TRIED = 100
_FEWEST_REACHED = 3


class MeasuredModels(Protocol):
    """The models that were measured on a device."""

    def values(self, score: str) -> Mapping[str, float]:
        """Return the settled values of a score, by the hash of the architecture."""
        ...

    def architecture(self, digest: str) -> Architecture:
        """Return the architecture with this hash, which has a value."""
        ...


class StoredMeasurements:
    """The models of all studies in a database that one evaluator has measured.

    Args:
        store: The database.
        fingerprint: The fingerprint of the evaluator, which identifies the device.
    """

    def __init__(self, store: Store, fingerprint: str) -> None:
        self._store = store
        self._fingerprint = fingerprint

    def values(self, score: str) -> Mapping[str, float]:
        """Return the settled values of a score; see `MeasuredModels`."""
        return self._store.settled_values(self._fingerprint, score)

    def architecture(self, digest: str) -> Architecture:
        """Return the architecture with this hash; see `MeasuredModels`."""
        return self._store.architecture(digest)


class LatencyMatching:
    """Predicts the latency that the candidates of a study are matched to.

    Args:
        spec: The study. If its space has no latency to be matched, nothing is predicted.
        measured: The models that the prediction is fitted to; None if there are none.

    Attributes:
        version: A number that increases whenever the prediction changes.
    """

    def __init__(self, spec: StudySpec, measured: MeasuredModels | None = None) -> None:
        self.version = 0
        self._space = spec.space
        self._matched = spec.space.matched
        self._measured = measured
        self._deployment = spec.target.deployment
        self._values: Mapping[str, float] = {}
        # The measured models and the parts of their work, by hash.
        self._models: dict[str, tuple[Architecture, Parts]] = {}
        self._estimate: CostEstimate | None = None

    def refit(self) -> None:
        """Fit the prediction to the measurements so far."""
        if not isinstance(self._matched, MatchedLatency) or self._measured is None:
            return
        values = self._measured.values(self._matched.score)
        if values == self._values:
            return
        # If the database cannot be read, this fails before anything has changed.
        for digest in values.keys() - self._models.keys():
            model = self._measured.architecture(digest)
            self._models[digest] = model, self._parts_of(model)
        self._values, self._estimate = values, None
        self.version += 1
        if len(values) < FEWEST_MEASUREMENTS:
            return
        # The order must not depend on when each model was measured, since the sums do.
        known = [(*self._models[digest], values[digest]) for digest in sorted(values)]
        self._estimate = CostEstimate(
            [parts for _, parts, _ in known], [value for _, _, value in known]
        )
        is_enough = len(known) >= _ENOUGH_TO_REJECT_ALL
        if not self._grows(known[0][0]) or not (is_enough or self._is_often_reached()):
            self._estimate = None

    @property
    def latency(self) -> Cost | None:
        """The function that predicts the latency of an architecture; None before it is known.

        It is known as soon as there are FEWEST_MEASUREMENTS, if they show that wider feed-forwards
        take more time. Moreover, a prediction from fewer than 12 measurements is used only if by it
        at least 3 of 100 random layouts reach the latency: the first predictions can be far off,
        and a search must not end because of them.
        """
        return None if self._estimate is None else self._predicted

    @property
    def remark(self) -> str | None:
        """A sentence if candidates will not be matched at first."""
        if not isinstance(self._matched, MatchedLatency) or self._estimate is not None:
            return None
        return (
            f"candidates are matched to a {described_latency(self._matched)} as soon as it can be "
            f"predicted, from at least {FEWEST_MEASUREMENTS} measured models; until then, the "
            "widths of their feed-forwards are random"
        )

    def predicted(self, architecture: Architecture) -> float | None:
        """Return the predicted latency of an architecture; None before it is known."""
        return None if self._estimate is None else self._predicted(architecture)

    def _predicted(self, architecture: Architecture) -> float:
        assert self._estimate is not None
        return float(self._estimate.predict([self._parts_of(architecture)])[0][0])

    def _parts_of(self, architecture: Architecture) -> Parts:
        assert isinstance(self._matched, MatchedLatency)
        return parts_of(self._matched.score, architecture, self._deployment)

    def _grows(self, model: Architecture) -> bool:
        """Return whether the prediction increases with the width of a model's feed-forwards."""
        wider = with_feed_forward_blocks(model, feed_forward_blocks(model) + len(model.layers))
        return self._predicted(wider) > self._predicted(model)

    def _is_often_reached(self) -> bool:
        """Return whether enough of some random layouts are predicted to reach the latency."""
        suggester = RandomSuggester(np.random.default_rng(0))
        drawn = (draw(self._space, suggester, self._predicted) for _ in range(_LAYOUTS_TRIED))
        matched = self._space.matched
        reached = (
            check.excess <= 0
            for architecture in drawn
            for check in check_matched(architecture, matched, self._predicted)
        )
        return sum(reached) >= _FEWEST_REACHED


def device_matching(
    spec: StudySpec, evaluators: Sequence[Evaluator], store: Store
) -> LatencyMatching:
    """Return the matching by what was measured on the device of this process.

    Args:
        spec: The study.
        evaluators: The evaluators of the study, one of which measures the latency to be matched.
        store: The database.
    """
    matched = spec.space.matched
    if not isinstance(matched, MatchedLatency):
        return LatencyMatching(spec)
    measuring = next(each for each in evaluators if matched.score in each.score_names)
    return LatencyMatching(spec, StoredMeasurements(store, measuring.fingerprint))


def described_latency(matched: MatchedLatency) -> str:
    """Return a latency to be matched in words, such as `decode of 12 ms/token`."""
    definition = definition_of(matched.score)
    assert definition is not None, matched.score
    return f"{matched.score} of {matched.latency:g} {definition.unit}"


def record_feed_forward(asked: Suggester, space: Space, architecture: Architecture) -> None:
    """Record the feed-forwards of an architecture in a trial, if they are to be matched.

    Args:
        asked: The trial of Optuna, or a fixed one.
        space: The space.
        architecture: The architecture of the trial.
    """
    if isinstance(space.matched, MatchedLatency):
        blocks = feed_forward_blocks(architecture)
        asked.suggest_int(FEED_FORWARD_BLOCKS, blocks, blocks)


def recorded_architecture(space: Space, parameters: Parameters) -> Architecture:
    """Return the architecture of a trial in which `record_feed_forward` recorded it.

    Args:
        space: The space.
        parameters: All parameters of the trial.
    """
    blocks = parameters[FEED_FORWARD_BLOCKS]
    assert isinstance(blocks, int)
    return with_feed_forward_blocks(draw(space, FixedSuggester(parameters)), blocks)
