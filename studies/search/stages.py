"""One trial's way through the stages, cheap ones first, to its outcome."""

import time
from collections.abc import Mapping, Sequence

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
from search_space.architecture import Architecture
from studies.records import Outcome, StageRun, Trial, TrialKind
from studies.search.events import Listener, StageEnded, StageProgress, StageStarted
from studies.search.interrupts import Interrupts
from studies.search.predictions import PredictFirst, is_predictable
from studies.search.rungs import Finisher, RungResult, beaten_by, estimated_loss, loss_after
from studies.spec.budgets import over_budget
from studies.spec.study_spec import StudySpec
from studies.storage.store import Store

# Those who watch from elsewhere see progress this often; each report is a transaction.
_REPORT_SECONDS = 2.0


class Stages:
    """A study's evaluators in order; what they find out is stored as soon as it is known."""

    def __init__(
        self,
        spec: StudySpec,
        evaluators: Sequence[Evaluator],
        store: Store,
        listener: Listener,
        interrupts: Interrupts,
    ) -> None:
        stages = [each.stage for each in evaluators]
        assert len(set(stages)) == len(stages), "results are told apart by their stage"
        self._spec = spec
        interruptible: list[Evaluator] = [Interruptible(each, interrupts) for each in evaluators]
        by_kind: dict[TrialKind, list[Evaluator]] = {
            "reference": interruptible,
            "candidate": [
                PredictFirst(each, spec, store) if is_predictable(each) else each
                for each in interruptible
            ],
        }
        self._evaluators = {
            kind: [Cached(evaluator=each, memory=store) for each in those]
            for kind, those in by_kind.items()
        }
        self._store = store
        self._listener = listener
        self._finishers = _Finishers(spec, store)

    def run(self, trial: Trial, architecture: Architecture) -> Outcome:
        """Every stage that the trial earns; a reference, which nothing judges, has them all."""
        judged = trial.kind == "candidate"
        scores: dict[str, Score] = {}
        for evaluator in self._evaluators[trial.kind]:
            ladder = self._ladder(scores) if judged else None
            watch = _Watch(self._store, self._listener, trial, evaluator.stage, ladder)
            try:
                evaluation = self._evaluate(evaluator, trial, architecture, watch)
            except EvaluationFailed as failure:
                return Outcome(
                    state="failed",
                    stage=evaluator.stage,
                    reason=failure.reason,
                    failure=failure.kind,
                    curve=tuple(watch.curve),
                )
            except Infeasible as refusal:
                return Outcome(state="infeasible", stage=evaluator.stage, reason=str(refusal))
            except _Stopped as stopped:
                return Outcome(
                    state="stopped",
                    stage=evaluator.stage,
                    reason=stopped.reason,
                    curve=tuple(watch.curve),
                    estimated_loss=stopped.estimated_loss,
                )
            reason = over_budget(self._spec, evaluation.scores)
            if judged and reason is not None:
                return Outcome(state="infeasible", stage=evaluator.stage, reason=reason)
            scores |= {score.name: score for score in evaluation.scores}
        return Outcome(state="complete")

    def _evaluate(
        self, evaluator: Evaluator, trial: Trial, architecture: Architecture, watch: "_Watch"
    ) -> Evaluation:
        stage, finished = evaluator.stage, False
        self._store.enter(trial, stage)
        self._listener(StageStarted(trial=trial, stage=stage))
        start = time.perf_counter()
        try:
            evaluation = evaluator.evaluate(architecture, watch)
            finished = True
        finally:
            seconds = time.perf_counter() - start
            run = StageRun(stage=stage, fingerprint=evaluator.fingerprint, seconds=seconds)
            self._store.leave(trial, run, finished=finished)
        self._listener(StageEnded(trial=trial, stage=stage, evaluation=evaluation, seconds=seconds))
        return evaluation

    def _ladder(self, scores: Mapping[str, Score]) -> "_Ladder | None":
        """The rungs ahead; None while another objective than the loss is still unknown."""
        names = [objective.name for objective in self._spec.objectives]
        others = [name for name in names if name != "loss"]
        if "loss" not in names or not all(name in scores for name in others):
            return None
        at_best = tuple(_at_best(scores[name]) for name in others)
        return _Ladder(self._spec, self._finishers, at_best)


def _at_best(score: Score) -> float:
    return score.value if score.low is None else score.low


class Interruptible:
    """An Evaluator that Ctrl-C reaches while it works, though not while it reports."""

    def __init__(self, evaluator: Evaluator, interrupts: Interrupts) -> None:
        self.stage = evaluator.stage
        self.fingerprint = evaluator.fingerprint
        self.score_names = evaluator.score_names
        self._evaluator = evaluator
        self._interrupts = interrupts

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        def calmly(progress: Progress) -> None:
            with self._interrupts.held_back_again():
                report(progress)

        with self._interrupts.let_through():
            return self._evaluator.evaluate(architecture, calmly)


class _Stopped(Exception):
    """Raised out of a report; evaluators let it pass."""

    def __init__(self, reason: str, estimated: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.estimated_loss = estimated


class _Finishers:
    """The complete candidates of a study, by whichever process; each is read once."""

    def __init__(self, spec: StudySpec, store: Store) -> None:
        self._spec = spec
        self._store = store
        self._trials: dict[int, Trial] = {}

    def at(self, tokens: float) -> list[Finisher]:
        """Where each of them stood after so many tokens of training."""
        numbers = self._store.numbers(self._spec.name, ["complete"])
        new = [number for number in numbers if number not in self._trials]
        if new:
            found = self._store.trials(self._spec.name, numbers=new if self._trials else None)
            self._trials |= {trial.number: trial for trial in found if trial.state == "complete"}
        others = [item.name for item in self._spec.objectives if item.name != "loss"]
        return [
            Finisher(
                number=trial.number,
                rung_result=RungResult(
                    loss=loss, others=tuple(trial.values[name] for name in others)
                ),
                final_loss=trial.values["loss"],
            )
            for trial in self._trials.values()
            if (loss := loss_after(trial.curve, tokens)) is not None
        ]


class _Ladder:
    """The rungs of one candidate's training."""

    def __init__(self, spec: StudySpec, finishers: _Finishers, others: tuple[float, ...]) -> None:
        self._proxy = spec.proxy
        self._finishers = finishers
        self._others = others
        self._ahead = list(spec.proxy.rungs)

    def climb(self, curve: Sequence[CurvePoint]) -> None:
        """Judges the candidate at each rung that its curve has come to; raises _Stopped."""
        while self._ahead:
            tokens = self._ahead[0] * self._proxy.token_budget
            loss = loss_after(curve, tokens)
            if loss is None:
                return
            share = self._ahead.pop(0)
            rung_result = RungResult(loss=loss, others=self._others)
            rival = beaten_by(rung_result, self._finishers.at(tokens), self._proxy.rung_margin)
            if rival is not None:
                raise _Stopped(
                    f"at {share:.0%} of its training the loss was {loss:.4g} bits/byte; "
                    f"trial {rival.number}, at least as good in all else, had "
                    f"{rival.rung_result.loss:.4g}",
                    estimated_loss(rung_result, rival),
                )


class _Watch:
    """The Report of one stage: passes progress on, keeps the curve, and stops at a rung."""

    def __init__(
        self, store: Store, listener: Listener, trial: Trial, stage: str, ladder: _Ladder | None
    ) -> None:
        self._store = store
        self._listener = listener
        self._trial = trial
        self._stage = stage
        self._ladder = ladder
        self._stored_at = time.monotonic()
        self.curve: list[CurvePoint] = []

    def __call__(self, progress: Progress) -> None:
        self._listener(StageProgress(trial=self._trial, stage=self._stage, progress=progress))
        if time.monotonic() - self._stored_at > _REPORT_SECONDS:
            self._store.report(self._trial, progress)
            self._stored_at = time.monotonic()
        if progress.point is not None:
            self.curve.append(progress.point)
            if self._ladder is not None:
                self._ladder.climb(self.curve)
