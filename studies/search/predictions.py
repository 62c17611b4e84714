"""What a study forecasts of a candidate from those measured before it, and what that decides.

A candidate whose forecast lies wholly above a budget is not measured; a measurement far from its
forecast is taken twice more. No forecast stands where a measurement should.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evaluators.evaluator import Evaluation, Evaluator, Infeasible, Progress, Report
from evaluators.scores import is_additive, is_timed
from evaluators.speed.latency_model import FEWEST, Accuracy, LatencyModel, Prediction
from evaluators.speed.workload_parts import Deployment, Parts, parts_of
from search_space.architecture import Architecture
from studies.records import END_STATES, Trial
from studies.spec.budgets import budgets
from studies.spec.study_spec import StudySpec, asked_scores
from studies.storage.store import Store

# What cross-validation has to show before a forecast decides anything.
_EARNING_R2 = 0.9
_EARNING_SHARE_WITHIN_TENTH = 0.9
# So many times the half of its interval a measurement may be from its forecast; about one in a
# hundred is farther by chance, and costs two measurements.
_FAR = 2.0


def is_predictable(evaluator: Evaluator) -> bool:
    """Whether it measures: the other scores that are sums of parts are had for nothing."""
    return any(is_additive(name) and is_timed(name) for name in evaluator.score_names)


class PredictFirst:
    """An Evaluator whose candidates are forecast from those that it measured in this study."""

    def __init__(self, evaluator: Evaluator, spec: StudySpec, store: Store) -> None:
        self.stage = evaluator.stage
        self.fingerprint = evaluator.fingerprint
        self.score_names = evaluator.score_names
        self._evaluator = evaluator
        self._budgets = budgets(spec)
        self._forecasts = _Forecasts(evaluator, spec, store)

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Raises Infeasible, too, for what is forecast beyond a budget."""
        forecasts = self._forecasts.of(architecture)
        beyond = "; ".join(self._beyond(forecasts))
        if beyond:
            raise Infeasible(beyond)
        evaluation = self._evaluator.evaluate(architecture, report)
        far = "; ".join(_far(evaluation, forecasts))
        if not far:
            return evaluation
        report(Progress(done=0.0, text=f"{far}: is measured twice more"))
        more = [self._evaluator.evaluate(architecture, report) for _ in range(2)]
        return _middle([evaluation, *more])

    def _beyond(self, forecasts: Mapping[str, "_ScoreForecast"]) -> Iterator[str]:
        for name, of_score in forecasts.items():
            most, forecast = self._budgets.get(name), of_score.forecast
            if most is not None and forecast.low > most:
                yield (
                    f"{name}: forecast at {forecast.low:,.4g} to {forecast.high:,.4g} "
                    f"{of_score.unit}, above the budget of {most:,.4g} {of_score.unit}, and so "
                    f"not measured (of {of_score.accuracy})"
                )


@dataclass(slots=True, kw_only=True)
class _Known:
    """What a score was for some candidates, and the parts of their work."""

    unit: str = ""
    parts: list[Parts] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScoreForecast:
    forecast: Prediction
    unit: str
    accuracy: Accuracy


class _Forecasts:
    """Models of the scores that the study asks for; fitted anew when more candidates have ended."""

    def __init__(self, evaluator: Evaluator, spec: StudySpec, store: Store) -> None:
        self._fingerprint = evaluator.fingerprint
        self._study = spec.name
        self._deployment = Deployment(
            quantization=spec.target.quantization,
            prompt_length=spec.target.prompt_length,
            context_depth=spec.target.context_depth,
        )
        self._store = store
        self._seen: set[int] = set()
        self._known = {
            name: _Known()
            for name in asked_scores(spec)
            if name in evaluator.score_names and is_additive(name)
        }
        self._models: dict[str, LatencyModel] = {}

    def of(self, architecture: Architecture) -> dict[str, _ScoreForecast]:
        """By score; empty as long as no model of one has earned trust."""
        self._learn()
        return {
            name: _ScoreForecast(
                forecast=model.forecast(parts_of(name, architecture, self._deployment)),
                unit=self._known[name].unit,
                accuracy=model.accuracy,
            )
            for name, model in self._models.items()
            if _is_earned(model.accuracy)
        }

    def _learn(self) -> None:
        ended = set(self._store.numbers(self._study, END_STATES))
        new = ended - self._seen
        if not new or not self._known:
            return
        trials = self._store.trials(self._study, numbers=new if self._seen else None)
        self._seen = ended
        before = [len(known.values) for known in self._known.values()]
        for trial in trials:
            if trial.number in new and self._is_measured(trial):
                self._add(trial)
        for (name, known), count in zip(self._known.items(), before, strict=True):
            if len(known.values) > count and len(known.values) >= FEWEST:
                self._models[name] = LatencyModel(known.parts, known.values)

    def _is_measured(self, trial: Trial) -> bool:
        """By this very evaluator: another device's times are others."""
        runs = [run.fingerprint for run in trial.stages]
        return trial.duplicate_of is None and self._fingerprint in runs

    def _add(self, trial: Trial) -> None:
        assert trial.model is not None
        architecture = self._store.architecture(trial.model.hash)
        for score in trial.scores:
            if score.name in self._known and score.value > 0:
                known = self._known[score.name]
                known.unit = score.unit
                known.parts.append(parts_of(score.name, architecture, self._deployment))
                known.values.append(score.value)


def _is_earned(accuracy: Accuracy) -> bool:
    return accuracy.r2 >= _EARNING_R2 and accuracy.within_tenth >= _EARNING_SHARE_WITHIN_TENTH


def _far(evaluation: Evaluation, forecasts: Mapping[str, _ScoreForecast]) -> Iterator[str]:
    for score in evaluation.scores:
        if score.name in forecasts:
            forecast = forecasts[score.name].forecast
            if abs(score.value - forecast.value) > _FAR * forecast.margin:
                found, expected = f"{score.value:.4g}", f"{forecast.value:.4g}"
                yield f"{score.name}: {found} is far from its forecast, {expected}"


def _middle(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Of each score the middle one; all measurements in order."""
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
