"""A model of the losses after long training, compared with the short losses alone.

Shapes: N candidates with a long training, D features.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from evaluators.scores import LOSS
from search_space.architecture import Architecture
from search_space.space.layout_features import layout_features
from studies.analysis.left_out_predictions import fitted_line, left_out_predictions
from studies.analysis.pareto_front import non_dominated
from studies.analysis.study_front import Front
from studies.confirmation.candidate_selection import complete_points
from studies.confirmation.confirmation_statistics import RankCorrelation, rank_correlation
from studies.records import ScoredPoint
from studies.samplers.outcome_model import OutcomeModel

# On recorded trainings, a model of fewer long trainings ranked worse than the short losses alone.
FEWEST_LONG = 20
# With more long trainings than this, several are left out at the same time, which takes less time.
_MOST_FOLDS = 100
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedLongLoss:
    """A candidate without a long training, and the loss that is predicted after one.

    Attributes:
        number: The number of the candidate.
        loss: The predicted loss, in bits per byte.
    """

    number: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LongLossModel:
    """How well a model of the long losses ranks the candidates, compared with the short losses.

    The model is a line through the short losses, corrected by a Gaussian process on layout
    features. Each long loss is predicted from the long losses of all other candidates.

    Attributes:
        by_model: The rank correlation of the long losses with the model's predictions.
        by_short_loss: Their rank correlation with the short losses of the same candidates.
        to_confirm: Up to five candidates without a long training that the model predicts to be on
            the front, those first whose predicted loss is the farthest below the long losses at
            the same other objectives or better. Empty unless `is_better`.
    """

    by_model: RankCorrelation
    by_short_loss: RankCorrelation
    to_confirm: tuple[PredictedLongLoss, ...]

    @property
    def is_better(self) -> bool:
        """Whether the model has the higher rank correlation."""
        return self.by_model.value > self.by_short_loss.value


def long_loss_model(
    front: Front, long: Mapping[int, float], architecture: Callable[[str], Architecture]
) -> LongLossModel | None:
    """Compare a model of the long losses with the short losses, by leaving each long loss out.

    Args:
        front: The front of the study, of which loss is an objective.
        long: The losses after long training of the same budget, by the number of the candidate.
        architecture: Returns the architecture with a hash.

    Returns:
        The comparison; None for fewer than `FEWEST_LONG` candidates, or if either ranking is
        undefined because all its values are equal.
    """
    points = complete_points(front)
    trained = [point for point in points if point.number in long]
    if len(trained) < FEWEST_LONG:
        return None
    features_ND = _features(trained, architecture)
    short_N = np.array([point.values[LOSS] for point in trained])
    long_N = np.array([long[point.number] for point in trained])
    # The matrices are small. Several threads would wait for each other.
    with threadpool_limits(limits=1):
        predicted_N, _ = left_out_predictions(
            features_ND,
            long_N,
            np.random.default_rng(0),
            earlier_N=short_N,
            folds=min(len(trained), _MOST_FOLDS),
        )
    by_model = rank_correlation(predicted_N.tolist(), long_N.tolist())
    by_short_loss = rank_correlation(short_N.tolist(), long_N.tolist())
    if by_model is None or by_short_loss is None:
        return None
    untrained = [point for point in points if point.number not in long]
    to_confirm: tuple[PredictedLongLoss, ...] = ()
    if untrained and by_model.value > by_short_loss.value:
        slope, intercept = fitted_line(short_N, long_N)
        with threadpool_limits(limits=1):
            model = OutcomeModel(
                features_ND,
                long_N - intercept - slope * short_N,
                np.zeros(len(trained)),
                np.random.default_rng(0),
            )
            corrections, _ = model.predict(_features(untrained, architecture))
        predictions = {
            point.number: intercept + slope * point.values[LOSS] + float(correction)
            for point, correction in zip(untrained, corrections, strict=True)
        }
        to_confirm = _predicted_members(front, points, long, predictions)
    return LongLossModel(by_model=by_model, by_short_loss=by_short_loss, to_confirm=to_confirm)


def _features(
    points: Sequence[ScoredPoint], architecture: Callable[[str], Architecture]
) -> np.ndarray:
    return np.array([layout_features(architecture(point.architecture)) for point in points])


def _predicted_members(
    front: Front,
    points: Sequence[ScoredPoint],
    long: Mapping[int, float],
    predictions: Mapping[int, float],
) -> tuple[PredictedLongLoss, ...]:
    """Return the candidates that are on the front of long and predicted losses together."""
    names = {axis.name for axis in front.axes}
    others = sorted(names - {LOSS})
    losses = {**predictions, **long}
    on_front = non_dominated(
        [(losses[each.number], *(each.values[name] for name in others)) for each in points],
        [bool(each.provisional & names) for each in points],
    )

    def gain(point: ScoredPoint) -> float:
        rivals = (
            long[each.number]
            for each in points
            if each.number in long
            and all(each.values[name] <= point.values[name] for name in others)
        )
        return min(rivals, default=math.inf) - predictions[point.number]

    members = [points[index] for index in on_front if points[index].number in predictions]
    members.sort(key=lambda point: (-gain(point), point.number))
    return tuple(
        PredictedLongLoss(number=point.number, loss=predictions[point.number])
        for point in members[:_MOST_NAMED]
    )
