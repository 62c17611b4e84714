"""Predicts scores from earlier measurements of a study, to skip or repeat further measurements.

A candidate whose predicted interval lies wholly above a budget is not measured. If a measurement is
far from its prediction, two more are made, and the median counts. A prediction never replaces a
measurement.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evaluators.evaluator import Evaluation, Evaluator, Infeasible, Progress, Report
from evaluators.scores import is_additive, is_timed
from evaluators.speed.latency_model import MIN_MEASUREMENTS, Accuracy, LatencyModel, Prediction
from evaluators.speed.workload_parts import Deployment, Parts, parts_of
from search_space.architecture import Architecture, architecture_hash
from studies.records import END_STATES, Trial
from studies.spec.budgets import budgets
from studies.spec.study_spec import StudySpec, asked_scores
from studies.storage.store import Store

# The least that cross-validation must show before a prediction decides anything.
_LEAST_R2 = 0.9
_LEAST_WITHIN_TENTH = 0.9
# A measurement is far from its prediction if it differs by more than this multiple of half the
# prediction interval. About one in a hundred does so by chance, which costs two measurements.
_FAR = 2.0


def is_predictable(evaluator: Evaluator) -> bool:
    """Return whether an evaluator measures a score that can be predicted.

    An evaluator whose additive scores are not timed computes them at no cost, so a prediction would
    save nothing.
    """
    return any(is_additive(name) and is_timed(name) for name in evaluator.score_names)


class PredictionGuided:
    """An Evaluator that skips or repeats measurements by comparing them with predictions.

    The predictions come from what the wrapped evaluator has measured in this study.
    """

    def __init__(self, evaluator: Evaluator, spec: StudySpec, store: Store) -> None:
        self.stage = evaluator.stage
        self.fingerprint = evaluator.fingerprint
        self.score_names = evaluator.score_names
        self._evaluator = evaluator
        self._budgets = budgets(spec)
        self._predictor = _Predictor(evaluator, spec, store)

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Measure an architecture, and twice more if the result is far from the prediction.

        Args:
            architecture: The candidate.
            report: Receives the progress.

        Returns:
            The evaluation. If there were three measurements, it contains the median of each score
            and the samples of all three.

        Raises:
            EvaluationFailed: The wrapped evaluator failed.
            Infeasible: A score is predicted to be above its budget, or the wrapped evaluator found
                the architecture infeasible.
        """
        predictions = self._predictor.predict(architecture)
        over_budget = "; ".join(self._over_budget(predictions))
        if over_budget:
            raise Infeasible(over_budget)
        evaluation = self._evaluator.evaluate(architecture, report)
        far = "; ".join(_far(evaluation, predictions))
        if not far:
            return evaluation
        report(Progress(done=0.0, text=f"{far}; measuring it two more times"))
        more = [self._evaluator.evaluate(architecture, report) for _ in range(2)]
        return _median([evaluation, *more])

    def _over_budget(self, predictions: Mapping[str, "_ScorePrediction"]) -> Iterator[str]:
        for name, predicted in predictions.items():
            most, interval = self._budgets.get(name), predicted.prediction
            if most is not None and interval.low > most:
                yield (
                    f"{name}: predicted at {interval.low:,.4g} to {interval.high:,.4g} "
                    f"{predicted.unit}, above the budget of {most:,.4g} {predicted.unit}, and "
                    f"therefore not measured (in cross-validation, {predicted.accuracy})"
                )


@dataclass(slots=True, kw_only=True)
class _Measured:
    """The measured values of a score, and the workload parts of the measured candidates."""

    unit: str = ""
    parts: list[Parts] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScorePrediction:
    prediction: Prediction
    unit: str
    accuracy: Accuracy


class _Predictor:
    """Models of the scores that a study asks for, refitted when more candidates have ended."""

    def __init__(self, evaluator: Evaluator, spec: StudySpec, store: Store) -> None:
        self._fingerprint = evaluator.fingerprint
        self._study = spec.name
        self._deployment = Deployment(
            quantization=spec.target.quantization,
            prompt_length=spec.target.prompt_length,
            context_depth=spec.target.context_depth,
        )
        self._store = store
        # The architectures predicted by this process whose trials have not been read yet, by hash.
        self._predicted: dict[str, Architecture] = {}
        self._seen: set[int] = set()
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
            name: _ScorePrediction(
                prediction=model.predict(parts_of(name, architecture, self._deployment)),
                unit=self._measured[name].unit,
                accuracy=model.accuracy,
            )
            for name, model in self._models.items()
            if _is_accurate(model.accuracy)
        }

    def _learn(self) -> None:
        ended = set(self._store.numbers(self._study, END_STATES))
        new = ended - self._seen
        if not new or not self._measured:
            return
        trials = self._store.trials(self._study, numbers=new if self._seen else None)
        self._seen = ended
        before = [len(measured.values) for measured in self._measured.values()]
        for trial in trials:
            if trial.number in new:
                assert trial.model is not None
                predicted = self._predicted.pop(trial.model.hash, None)
                if self._is_measured(trial):
                    self._add(trial, predicted or self._store.architecture(trial.model.hash))
        for (name, measured), count in zip(self._measured.items(), before, strict=True):
            if len(measured.values) > count and len(measured.values) >= MIN_MEASUREMENTS:
                self._models[name] = LatencyModel(measured.parts, measured.values)

    def _is_measured(self, trial: Trial) -> bool:
        """Return whether this evaluator measured the trial itself; times differ between devices."""
        runs = [run.fingerprint for run in trial.stages]
        return trial.duplicate_of is None and self._fingerprint in runs

    def _add(self, trial: Trial, architecture: Architecture) -> None:
        for score in trial.scores:
            if score.name in self._measured and score.value > 0:
                measured = self._measured[score.name]
                measured.unit = score.unit
                measured.parts.append(parts_of(score.name, architecture, self._deployment))
                measured.values.append(score.value)


def _is_accurate(accuracy: Accuracy) -> bool:
    return accuracy.r2 >= _LEAST_R2 and accuracy.within_tenth >= _LEAST_WITHIN_TENTH


def _far(evaluation: Evaluation, predictions: Mapping[str, _ScorePrediction]) -> Iterator[str]:
    for score in evaluation.scores:
        if score.name in predictions:
            prediction = predictions[score.name].prediction
            if abs(score.value - prediction.value) > _FAR * prediction.margin:
                found, expected = f"{score.value:.4g}", f"{prediction.value:.4g}"
                yield f"{score.name}: {found} is far from its prediction, {expected}"


def _median(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the median of each score, with all measurements in order."""
    scores = zip(*(evaluation.scores for evaluation in evaluations), strict=True)
    return Evaluation(
        scores=tuple(
            sorted(scored, key=lambda score: score.value)[len(scored) // 2] for scored in scores
        ),
        seconds=sum(evaluation.seconds for evaluation in evaluations),
        measurements=tuple(
            measurement for evaluation in evaluations for measurement in evaluation.measurements
        ),
    )
