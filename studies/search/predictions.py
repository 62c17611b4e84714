"""Predicts scores from earlier measurements of a study, to skip or repeat further measurements.

A candidate whose predicted interval lies wholly above a limit is not measured. A measurement that
is far from its prediction, or whose interval contains a limit, is repeated up to twice, and all of
the measurements count. A prediction never replaces a measurement.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from evaluators.calibration import CalibrationKey
from evaluators.evaluator import (
    Evaluation,
    Evaluator,
    Infeasible,
    Progress,
    Refinable,
    Report,
    Score,
)
from evaluators.jobs import MeasuringEvaluator
from evaluators.scores import is_additive, is_timed
from evaluators.speed.latency_model import MIN_MEASUREMENTS, Accuracy, LatencyModel, Prediction
from evaluators.speed.workload_parts import Parts, parts_of
from search_space.architecture import Architecture, architecture_hash
from studies.records import END_STATES, Trial
from studies.spec.limits import judge, limits
from studies.spec.study_spec import StudySpec, asked_scores
from studies.storage.store import Store

# The least that cross-validation must show before a prediction decides anything.
_LEAST_R2 = 0.9
_LEAST_WITHIN_TENTH = 0.9
# A measurement is far from its prediction if it differs by more than this multiple of half the
# prediction interval. About one in a hundred does so by chance, which costs two measurements.
_FAR = 2.0
MOST_REPEATS = 2


class PredictedOverLimit(Infeasible):
    """A candidate was refused because a score is predicted to be above its limit.

    Attributes:
        exceeded: The lower bound of the prediction of each such score, by name.
    """

    def __init__(self, reason: str, exceeded: Mapping[str, float]) -> None:
        super().__init__(reason)
        self.exceeded = exceeded


def is_predictable(evaluator: Evaluator) -> TypeGuard[Refinable]:
    """Return whether an evaluator measures a score that can be predicted.

    An evaluator whose additive scores are not timed computes them at no cost, so a prediction would
    save nothing.
    """
    return isinstance(evaluator, Refinable) and any(
        is_additive(name) and is_timed(name) for name in evaluator.score_names
    )


class PredictionGuided:
    """An Evaluator that skips or repeats measurements by comparing them with predictions.

    The predictions come from what the wrapped evaluator has measured in this study.

    Attributes:
        measuring: The wrapped evaluator, if another process can make its measurements.
    """

    def __init__(self, evaluator: Refinable, spec: StudySpec, store: Store) -> None:
        self.stage = evaluator.stage
        self.fingerprint = evaluator.fingerprint
        self.score_names = evaluator.score_names
        self._evaluator = evaluator
        self.measuring = evaluator if isinstance(evaluator, MeasuringEvaluator) else None
        self._spec = spec
        self._limits = limits(spec)
        self._predictor = _Predictor(evaluator, spec, store)

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Measure an architecture, and repeat this up to twice if the result is doubtful.

        Args:
            architecture: The candidate.
            report: Receives the progress.

        Returns:
            The evaluation, which combines all measurements.

        Raises:
            EvaluationFailed: The wrapped evaluator failed.
            Infeasible: A score is predicted to be above its limit, or the wrapped evaluator found
                the architecture infeasible.
        """
        self.check(architecture)
        evaluation = self._evaluator.evaluate(architecture, report)
        for _ in range(MOST_REPEATS):
            doubt = self.doubt(architecture, evaluation)
            if not doubt:
                break
            report(Progress(done=0.0, text=f"{doubt}; measuring again"))
            evaluation = self._evaluator.refine(architecture, evaluation, report)
        return evaluation

    def check(self, architecture: Architecture) -> None:
        """Refuse an architecture that is predicted to exceed a limit.

        Raises:
            PredictedOverLimit: A score is predicted to be above its limit.
        """
        predictions = self._predictor.predict(architecture)
        above = {
            name: predicted
            for name, predicted in predictions.items()
            if predicted.is_settled and predicted.absolute.low > self._limits.get(name, math.inf)
        }
        if above:
            reason = "; ".join(self._sentence(*each) for each in above.items())
            lowest = {name: predicted.absolute.low for name, predicted in above.items()}
            raise PredictedOverLimit(reason, lowest)

    def doubt(self, architecture: Architecture, evaluation: Evaluation) -> str:
        """Return why an architecture is to be measured again at once; empty if it is not.

        Args:
            architecture: The candidate.
            evaluation: Its measurements so far.
        """
        # Every measurement may change the reference model's time, and with it the predictions.
        return "; ".join(self._doubts(evaluation, self._predictor.predict(architecture)))

    def _doubts(
        self, evaluation: Evaluation, predictions: Mapping[str, "_ScorePrediction"]
    ) -> Iterator[str]:
        """Yield why a measurement is to be made again at once.

        A provisional score is no reason: it is measured again later, when the machine is quieter.
        """
        settled = [score for score in evaluation.scores if not score.provisional]
        yield from _far(settled, predictions)
        for name in judge(self._spec, settled).unsure:
            yield f"it is uncertain whether {name} exceeds its limit"

    def _sentence(self, name: str, predicted: "_ScorePrediction") -> str:
        interval, unit = predicted.absolute, predicted.unit
        return (
            f"{name}: predicted at {interval.low:,.4g} to {interval.high:,.4g} {unit}, above the "
            f"limit of {self._limits[name]:,.4g} {unit}, and therefore not measured (in "
            f"cross-validation, {predicted.accuracy})"
        )


@dataclass(slots=True, kw_only=True)
class _Measured:
    """The measured values of a score, and the workload parts of the measured candidates.

    For a time, the values are ratios to the reference model, which do not depend on the estimate of
    its time. `calibration` then identifies that estimate.
    """

    unit: str = ""
    calibration: CalibrationKey | None = None
    parts: list[Parts] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScorePrediction:
    """The prediction of a score.

    Attributes:
        prediction: The prediction without the error of the reference model's time, for comparison
            with a measurement on the same device.
        absolute: The prediction with that error, for comparison with a limit.
        is_settled: Whether the reference model's time is certain enough for limits to be enforced.
        unit: The unit of the score.
        accuracy: The accuracy of the model in cross-validation.
    """

    prediction: Prediction
    absolute: Prediction
    is_settled: bool
    unit: str
    accuracy: Accuracy


class _Predictor:
    """Models of the scores that a study asks for, refitted when the measurements have changed."""

    def __init__(self, evaluator: Refinable, spec: StudySpec, store: Store) -> None:
        self._fingerprint = evaluator.fingerprint
        self._study = spec.name
        self._deployment = spec.target.deployment
        self._store = store
        # The architectures predicted by this process whose trials have not been read yet, by hash.
        self._predicted: dict[str, Architecture] = {}
        # The parts of the measured architectures, by hash and score.
        self._parts: dict[str, dict[str, Parts]] = {}
        self._seen: set[int] = set()
        self._revision = 0
        self._measured = {
            name: _Measured()
            for name in asked_scores(spec)
            if name in evaluator.score_names and is_additive(name)
        }
        self._models: dict[str, LatencyModel] = {}

    def predict(self, architecture: Architecture) -> dict[str, _ScorePrediction]:
        """Return the predictions of those models that are accurate enough, by score."""
        self._learn()
        self._predicted[architecture_hash(architecture)] = architecture
        return {
            name: self._score_prediction(name, model, architecture)
            for name, model in self._models.items()
            if _is_accurate(model.accuracy)
        }

    def _score_prediction(
        self, name: str, model: LatencyModel, architecture: Architecture
    ) -> _ScorePrediction:
        measured = self._measured[name]
        prediction = model.predict(parts_of(name, architecture, self._deployment))
        absolute, is_settled = prediction, True
        if measured.calibration is not None:
            calibration = self._store.calibration(measured.calibration)
            assert calibration is not None, "stored scores depend on it"
            prediction = prediction.scaled(calibration.milliseconds)
            error = prediction.value * calibration.interval.half_width
            absolute = Prediction(
                value=prediction.value, margin=math.hypot(prediction.margin, error)
            )
            is_settled = calibration.is_settled
        return _ScorePrediction(
            prediction=prediction,
            absolute=absolute,
            is_settled=is_settled,
            unit=measured.unit,
            accuracy=model.accuracy,
        )

    def _learn(self) -> None:
        if not self._measured:
            return
        before = {name: list(measured.values) for name, measured in self._measured.items()}
        revision = self._store.revision(self._study)
        if revision != self._revision:
            # Ended candidates were measured again, or are to be resumed.
            self._revision = revision
            self._seen.clear()
            for measured in self._measured.values():
                measured.parts.clear()
                measured.values.clear()
        new = set(self._store.numbers(self._study, END_STATES)) - self._seen
        if not new:
            return
        trials = self._store.trials(self._study, numbers=new if self._seen else None)
        self._seen |= new
        for trial in trials:
            if trial.number in new:
                assert trial.model is not None
                predicted = self._predicted.pop(trial.model.hash, None)
                if self._is_measured(trial):
                    self._add(trial, predicted)
        for name, measured in self._measured.items():
            if measured.values == before[name]:
                continue
            if len(measured.values) >= MIN_MEASUREMENTS:
                self._models[name] = LatencyModel(measured.parts, measured.values)
            else:
                self._models.pop(name, None)

    def _is_measured(self, trial: Trial) -> bool:
        """Return whether this evaluator measured the trial itself; times differ between devices."""
        runs = [run.fingerprint for run in trial.stages]
        return trial.duplicate_of is None and self._fingerprint in runs

    def _add(self, trial: Trial, predicted: Architecture | None) -> None:
        assert trial.model is not None
        digest = trial.model.hash
        if digest not in self._parts:
            architecture = predicted or self._store.architecture(digest)
            self._parts[digest] = {
                name: parts_of(name, architecture, self._deployment) for name in self._measured
            }
        for score in trial.scores:
            if score.name in self._measured and score.value > 0 and not score.provisional:
                measured = self._measured[score.name]
                measured.unit = score.unit
                measured.calibration = (
                    None if score.measured is None else score.measured.calibration
                )
                measured.parts.append(self._parts[digest][score.name])
                measured.values.append(
                    score.value if score.measured is None else score.measured.ratio
                )


def _is_accurate(accuracy: Accuracy) -> bool:
    return accuracy.r2 >= _LEAST_R2 and accuracy.within_tenth >= _LEAST_WITHIN_TENTH


def _far(scores: Sequence[Score], predictions: Mapping[str, _ScorePrediction]) -> Iterator[str]:
    for score in scores:
        if score.name in predictions:
            prediction = predictions[score.name].prediction
            if abs(score.value - prediction.value) > _FAR * prediction.margin:
                found, expected = f"{score.value:.4g}", f"{prediction.value:.4g}"
                yield f"{score.name}: {found} is far from its prediction, {expected}"
