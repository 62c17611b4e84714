"""The stages of a trial, from cheap to expensive, and the outcome that they lead to."""

import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from evaluators.cache import Cached
from evaluators.evaluator import (
    CurvePoint,
    Evaluation,
    EvaluationFailed,
    Evaluator,
    Infeasible,
    Progress,
    Report,
    Score,
)
from evaluators.jobs import JobEvaluator, JobRunner, MeasuringEvaluator
from evaluators.scores import LOSS
from search_space.architecture import Architecture
from studies.records import Outcome, StageRun, Trial, TrialKind
from studies.search.complete_trials import CompleteTrials
from studies.search.concurrency import Work, carried_out
from studies.search.events import Listener, Remark, StageEnded, StageProgress, StageStarted
from studies.search.heartbeat import Heartbeat
from studies.search.predictions import (
    MOST_REPEATS,
    PredictedOverLimit,
    PredictionGuided,
    is_predictable,
)
from studies.search.rungs import (
    Finisher,
    RungResult,
    dominating_finisher,
    estimated_loss,
    loss_after,
)
from studies.spec.limits import judge
from studies.spec.study_spec import StudySpec
from studies.storage.store import Store


class DeviceLost(Exception):
    """A device no longer answers, which says nothing about the architecture.

    Attributes:
        stage: The stage that measures on the device.
        reason: What happened.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason


class Stages:
    """The evaluators of a study in order. Every result is stored as soon as it is known.

    Args:
        spec: The study.
        evaluators: The evaluators, from cheap to expensive. A candidate is predicted before it is
            measured (see `PredictionGuided`), and every evaluation is cached.
        store: The database.
        complete: The complete candidates of the study.
        heartbeat: Stores the progress of the stages.
        listener: Receives the events of the stages.
        runner: Carries out the jobs of those evaluators that have any; None evaluates in this
            process.
        device_runners: Carry out the measurements on devices, by the stage.
    """

    def __init__(
        self,
        spec: StudySpec,
        evaluators: Sequence[Evaluator],
        store: Store,
        complete: CompleteTrials,
        heartbeat: Heartbeat,
        listener: Listener,
        runner: JobRunner | None = None,
        device_runners: Mapping[str, JobRunner] = MappingProxyType({}),
    ) -> None:
        stages = [each.stage for each in evaluators]
        assert len(set(stages)) == len(stages), "each evaluator has its own stage"
        self._spec = spec
        by_kind: dict[TrialKind, list[Evaluator]] = {
            "reference": list(evaluators),
            "candidate": [
                PredictionGuided(each, spec, store) if is_predictable(each) else each
                for each in evaluators
            ],
        }
        self._evaluators = {
            kind: [Cached(evaluator=each, cache=store) for each in of_kind]
            for kind, of_kind in by_kind.items()
        }
        self._store = store
        self._heartbeat = heartbeat
        self._listener = listener
        self._complete = complete
        self._runner = runner
        self._device_runners = device_runners

    def run(self, trial: Trial, architecture: Architecture) -> Work[Outcome]:
        """Run the stages in order and stop at the first one that settles the trial.

        A reference model runs every stage, because constraints and rungs do not apply to it.

        Args:
            trial: The trial, which this process has claimed.
            architecture: The architecture of the trial.

        Returns:
            The outcome. Failures and infeasible candidates are outcomes, too.

        Raises:
            DeviceLost: A device of `device_runners` no longer answers.
        """
        is_candidate = trial.kind == "candidate"
        scores: dict[str, Score] = {}
        for evaluator in self._evaluators[trial.kind]:
            ladder = self._ladder(scores) if is_candidate else None
            report = _StageReport(self._heartbeat, self._listener, trial, evaluator.stage, ladder)
            try:
                evaluation = yield from self._evaluate(evaluator, trial, architecture, report)
            except EvaluationFailed as failure:
                if failure.kind == "device lost" and evaluator.stage in self._device_runners:
                    raise DeviceLost(evaluator.stage, failure.reason) from failure
                return Outcome(
                    state="failed",
                    stage=evaluator.stage,
                    reason=failure.reason,
                    failure=failure.kind,
                    curve=tuple(report.curve),
                )
            except Infeasible as infeasible:
                return Outcome(
                    state="infeasible",
                    stage=evaluator.stage,
                    reason=str(infeasible),
                    exceeded=infeasible.exceeded
                    if isinstance(infeasible, PredictedOverLimit)
                    else {},
                )
            except _Stopped as stopped:
                return Outcome(
                    state="stopped",
                    stage=evaluator.stage,
                    reason=stopped.reason,
                    curve=tuple(report.curve),
                    estimated_loss=stopped.estimated_loss,
                )
            judgement = judge(self._spec, evaluation.scores)
            if is_candidate and judgement.exceeded:
                return Outcome(
                    state="infeasible",
                    stage=evaluator.stage,
                    reason=judgement.reason,
                    exceeded=judgement.exceeded,
                )
            scores |= {score.name: score for score in evaluation.scores}
        return Outcome(state="complete")

    def _evaluate(
        self, evaluator: Cached, trial: Trial, architecture: Architecture, report: Report
    ) -> Work[Evaluation]:
        stage = evaluator.stage
        self._store.enter(trial, stage)
        self._listener(StageStarted(trial=trial, stage=stage))
        evaluation: Evaluation | None = None
        start = time.perf_counter()
        try:
            try:
                runner = self._device_runners.get(stage, self._runner)
                evaluation = yield from evaluated(evaluator, architecture, report, runner)
            finally:
                seconds = time.perf_counter() - start
                self._heartbeat.end_stage(trial)
                run = StageRun(stage=stage, fingerprint=evaluator.fingerprint, seconds=seconds)
                self._store.leave(trial, run, finished=evaluation is not None)
        except (EvaluationFailed, Infeasible, _Stopped):
            self._listener(StageEnded(trial=trial, stage=stage, evaluation=None, seconds=seconds))
            raise
        self._listener(StageEnded(trial=trial, stage=stage, evaluation=evaluation, seconds=seconds))
        for remark in evaluation.remarks:
            self._listener(Remark(text=remark))
        return evaluation

    def _ladder(self, scores: Mapping[str, Score]) -> "_Ladder | None":
        """Return the rungs of the training; None if another objective is unknown or provisional."""
        names = [objective.name for objective in self._spec.objectives]
        others = [name for name in names if name != LOSS]
        if LOSS not in names or not all(name in scores for name in others):
            return None
        if any(scores[name].provisional for name in others):
            return None
        bounds = {name: _lower_bound(scores[name]) for name in others}
        return _Ladder(self._spec, self._complete, bounds)


def _lower_bound(score: Score) -> float:
    return score.value if score.low is None else score.low


def evaluated(
    cached: Cached, architecture: Architecture, report: Report, runner: JobRunner | None
) -> Work[Evaluation]:
    """Return the cached evaluation, or evaluate and cache; see `Cached.evaluate`.

    Args:
        cached: The evaluator and the cache.
        architecture: The architecture to score.
        report: Receives the progress.
        runner: Carries out the jobs of the evaluator, if it has any; None evaluates in this
            process.
    """
    evaluator = cached.evaluator
    is_job = isinstance(evaluator, JobEvaluator | MeasuringEvaluator) or (
        isinstance(evaluator, PredictionGuided) and evaluator.measuring is not None
    )
    if runner is None or not is_job:
        return cached.evaluate(architecture, report)
    known = cached.load(architecture)
    if known is not None:
        return known
    if isinstance(evaluator, JobEvaluator):
        job = evaluator.prepare(architecture, report)
        evaluation = yield from carried_out(job, runner, report)
    else:
        evaluation = yield from _measured(evaluator, architecture, report, runner)
    cached.save(architecture, evaluation)
    return evaluation


def _measured(
    evaluator: Evaluator, architecture: Architecture, report: Report, runner: JobRunner
) -> Work[Evaluation]:
    """Have an architecture measured, and again if a prediction raises doubts."""
    guided = evaluator if isinstance(evaluator, PredictionGuided) else None
    measuring = evaluator if guided is None else guided.measuring
    assert isinstance(measuring, MeasuringEvaluator)
    if guided is not None:
        guided.check(architecture)
    evaluation: Evaluation | None = None
    for repeat in range(1 + MOST_REPEATS):
        measured = yield from carried_out(measuring.job(architecture), runner, report)
        evaluation = measuring.conclude(measured, evaluation)
        doubt = "" if guided is None else guided.doubt(architecture, evaluation)
        if not doubt or repeat == MOST_REPEATS:
            break
        report(Progress(done=0.0, text=f"{doubt}; measuring again"))
    assert evaluation is not None
    return evaluation


class _Stopped(Exception):
    """Raised by a report, which ends the evaluation at a rung."""

    def __init__(self, reason: str, estimated: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.estimated_loss = estimated


class _Ladder:
    """The rungs of one candidate's training."""

    def __init__(
        self, spec: StudySpec, complete: CompleteTrials, others: Mapping[str, float]
    ) -> None:
        self._proxy = spec.proxy
        self._complete = complete
        self._others = others
        self._ahead = list(spec.proxy.rungs)

    def check(self, curve: Sequence[CurvePoint]) -> None:
        """Check each rung that the curve has newly reached; raise _Stopped if it fails one."""
        while self._ahead:
            tokens = self._ahead[0] * self._proxy.token_budget
            loss = loss_after(curve, tokens)
            if loss is None:
                return
            fraction = self._ahead.pop(0)
            rung_result = RungResult(loss=loss, others=tuple(self._others.values()))
            rival = dominating_finisher(
                rung_result, self._finishers(tokens), self._proxy.rung_margin
            )
            if rival is not None:
                raise _Stopped(
                    f"at {100 * fraction:.0f} % of its training, the loss was {loss:.4g} "
                    f"bits/byte; trial {rival.number}, which is at least as good in all other "
                    f"objectives, had {rival.rung_result.loss:.4g}",
                    estimated_loss(rung_result, rival),
                )

    def _finishers(self, tokens: float) -> Iterator[Finisher]:
        """Yield the candidates whose training reached this number of tokens.

        Those whose other objectives are provisional decide nothing.
        """
        for trial in self._complete.read():
            loss = loss_after(trial.curve, tokens)
            if loss is not None and not trial.provisional(self._others):
                others = tuple(trial.values[name] for name in self._others)
                yield Finisher(
                    number=trial.number,
                    rung_result=RungResult(loss=loss, others=others),
                    final_loss=trial.values[LOSS],
                )


class _StageReport:
    """The Report of one stage: it passes progress on, keeps the curve and checks the rungs."""

    def __init__(
        self,
        heartbeat: Heartbeat,
        listener: Listener,
        trial: Trial,
        stage: str,
        ladder: _Ladder | None,
    ) -> None:
        self._heartbeat = heartbeat
        self._listener = listener
        self._trial = trial
        self._stage = stage
        self._ladder = ladder
        self.curve: list[CurvePoint] = []

    def __call__(self, progress: Progress) -> None:
        self._listener(StageProgress(trial=self._trial, stage=self._stage, progress=progress))
        self._heartbeat.report(self._trial, progress)
        if progress.remark is not None:
            self._listener(Remark(text=f"{self._trial.title}: {progress.remark}"))
        if progress.point is not None:
            if self.curve and progress.point.tokens <= self.curve[-1].tokens:
                self.curve.clear()  # the job has started again
            self.curve.append(progress.point)
            if self._ladder is not None:
                self._ladder.check(self.curve)
