"""The outcomes of a candidate: limits, rungs and failures."""

import itertools
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from evaluators.evaluator import (
    Evaluation,
    EvaluationFailed,
    Infeasible,
    Progress,
    Report,
    Score,
)
from search_space.architecture import Architecture
from studies.analysis import study_front
from studies.records import Trial
from studies.search.events import Event, Remark, StageEnded, TrialEnded
from studies.search.heartbeat import Heartbeat
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Constraint, Objective
from studies.storage.store import Store
from tests.studies import fakes
from tests.studies.fakes import (
    RefinableFake,
    all_stages,
    run_with_fakes,
    small_spec,
    static,
    training,
    unlucky,
)
from tests.studies.storage.timed_trials import replace_stored

pytestmark = pytest.mark.usefixtures("proposals_in_memory")


def test_no_progress_is_stored_after_the_end_of_its_stage(
    spec: StudySpec, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread discards its last report before the end of a stage is stored."""
    ended: list[str] = []
    monkeypatch.setattr(Heartbeat, "end_stage", lambda self, trial: ended.append("for the thread"))
    leave = store.leave

    def leave_and_record(*args: Any, **kwargs: Any) -> None:
        ended.append("in the database")
        leave(*args, **kwargs)

    monkeypatch.setattr(store, "leave", leave_and_record)
    events: list[Event] = []
    costs, latency, training = all_stages()
    latency.failing = lambda architecture: unlucky(architecture, 0.5)
    run_with_fakes(spec, store, (costs, latency, training), listener=events.append)
    stages = sum(isinstance(event, StageEnded) for event in events)
    assert ended == ["for the thread", "in the database"] * stages


class TestLimits:
    def test_a_candidate_above_a_limit_runs_no_later_stage(
        self, spec: StudySpec, store: Store
    ) -> None:
        spec = spec.model_copy(
            update={
                "objectives": (Objective(name="loss"), Objective(name="decode", max=2.5)),
                "constraints": (Constraint(name="memory", max=3.0),),
                "trials": 20,
            }
        )
        costs, latency, training = all_stages()
        trials = run_with_fakes(spec, store, (costs, latency, training))
        assert {trial.outcome.stage for trial in trials if trial.state == "infeasible"} == {
            "costs",
            "latency",
        }
        for trial in trials:
            assert trial.model is not None
            assert trial.outcome is not None
            values, outcome = trial.values, trial.outcome
            low = {score.name: score.low for score in trial.scores}
            if values["memory"] > 3.0:
                expected = f"memory: {values['memory']:.4g} MB is above the limit of 3 MB"
                assert (outcome.state, outcome.stage) == ("infeasible", "costs")
                assert outcome.reason == expected
                assert outcome.exceeded == {"memory": values["memory"]}
                assert trial.model.hash not in latency.asked + training.asked
            elif low["decode"] is not None and low["decode"] > 2.5:
                assert (outcome.state, outcome.stage) == ("infeasible", "latency")
                assert "is above the limit of 2.5 ms" in str(outcome.reason)
                assert outcome.exceeded == {"decode": low["decode"]}
                assert trial.model.hash not in training.asked
            else:
                assert outcome.state in ("complete", "stopped")

    def test_a_provisional_time_refuses_nobody(self, spec: StudySpec, store: Store) -> None:
        objectives = (Objective(name="loss"), Objective(name="decode", max=0.01))
        spec = spec.model_copy(update={"objectives": objectives})
        device = RefinableFake(is_busy=lambda architecture, runs: True)
        trials = run_with_fakes(spec, store, (static(), device, training()), is_quiet=False)
        assert {trial.state for trial in trials} == {"complete"}

    def test_a_candidate_at_its_limit_is_feasible(self, spec: StudySpec, store: Store) -> None:
        most = max(trial.values["memory"] for trial in run_with_fakes(spec, store))
        limited = small_spec(
            spec.storage,
            name="limited",
            constraints=(Constraint(name="parameters", max=2e6 * most),),
        )
        assert Counter(trial.state for trial in run_with_fakes(limited, store))["infeasible"] == 0


class TestRungs:
    def test_a_stopped_candidate_is_dominated_by_a_complete_one(
        self, spec: StudySpec, store: Store
    ) -> None:
        spec = spec.model_copy(update={"trials": 24})
        trials = run_with_fakes(spec, store)
        stopped = [trial for trial in trials if trial.state == "stopped"]
        assert stopped
        for trial in stopped:
            assert trial.outcome is not None
            assert trial.outcome.stage == "training"
            assert trial.outcome.estimated_loss is not None
            values = trial.values | {"loss": trial.outcome.estimated_loss}
            assert any(
                all(other.values[name] <= values[name] for name in ("loss", "decode", "memory"))
                for other in trials[: trial.number]
                if other.state == "complete"
            )
            # The curve ends at the rung that stopped the trial.
            assert trial.curve[-1].tokens in (10_000, 20_000)
            assert "loss" not in trial.values

    def test_the_fake_losses_are_estimated_exactly(self, spec: StudySpec, store: Store) -> None:
        """The distance between fake curves is constant, so the estimate equals the final loss."""
        for trial in run_with_fakes(spec.model_copy(update={"trials": 24}), store):
            if trial.outcome is not None and trial.outcome.estimated_loss is not None:
                assert trial.model is not None
                loss = fakes.final_loss(store.architecture(trial.model.hash))
                assert trial.outcome.estimated_loss == pytest.approx(loss)

    def test_nothing_is_stopped_without_rungs(self, spec: StudySpec, store: Store) -> None:
        proxy = spec.proxy.model_copy(update={"rungs": ()})
        trials = run_with_fakes(spec.model_copy(update={"trials": 24, "proxy": proxy}), store)
        assert {trial.state for trial in trials} == {"complete"}

    def test_stopping_loses_no_member_of_the_front(self, spec: StudySpec, store: Store) -> None:
        proxy = spec.proxy.model_copy(update={"rungs": ()})
        fronts = []
        for changes in ({"name": "with"}, {"name": "without", "proxy": proxy}):
            run_with_fakes(spec.model_copy(update={"trials": 24, **changes}), store)
            members = study_front.front(store, str(changes["name"])).members
            fronts.append([trial.number for trial in members])
        assert fronts[0] == fronts[1]

    def test_rivals_within_measurement_noise_stop_nobody(
        self, spec: StudySpec, store: Store
    ) -> None:
        """All candidates are equally fast, but one whose interval is wide might be faster."""
        outcomes = {}
        for name, low in (("exact", 5.0), ("noisy", 4.9)):
            stages = all_stages()
            stages[1].measure, stages[1].fingerprint = _constant("decode", low), name
            names = ("loss", "decode")
            objectives = tuple(Objective(name=each) for each in names)
            study = {"name": name, "trials": 24, "objectives": objectives}
            trials = run_with_fakes(spec.model_copy(update=study), store, stages)
            outcomes[name] = Counter(trial.state for trial in trials)
        assert outcomes["exact"]["stopped"] > 0
        assert outcomes["noisy"] == {"complete": 24}

    @pytest.mark.parametrize("busy", [1.0, 0.5, 0.0])
    def test_provisional_times_stop_nobody_and_their_candidates_are_not_stopped(
        self, spec: StudySpec, store: Store, busy: float
    ) -> None:
        """Those of the best candidates stay provisional and far too short."""

        def is_busy(architecture: Architecture, runs: int) -> bool:
            return not unlucky(architecture, 1 - busy)

        device = RefinableFake(
            is_busy=is_busy,
            factor=lambda architecture, runs: 0.1 if is_busy(architecture, runs) else 1.0,
            error=1e-6,
        )
        objectives = (Objective(name="loss"), Objective(name="decode"))
        spec = spec.model_copy(update={"objectives": objectives, "trials": 40})
        stages = (static(), device, training())
        trials = run_with_fakes(spec, store, stages, is_quiet=False)
        provisional = {trial.number for trial in trials if trial.provisional(["decode"])}
        assert len(provisional) == {1.0: 40, 0.0: 0}.get(busy, len(provisional))
        stopped = [trial for trial in trials if trial.state == "stopped"]
        assert bool(stopped) == (busy < 1.0)
        for trial in stopped:
            assert trial.number not in provisional
            assert _rival(trial) not in provisional

    def test_new_times_of_finishers_count(self, spec: StudySpec, store: Store) -> None:
        """All candidates are equally fast, but a finisher turns out to be slow one trial later.

        The trial in between was compared with it.
        """
        stages = all_stages()
        stages[1].measure = _constant("decode", 5.0)
        slow = _constant("decode", 5.0, value=100.0)
        previous: list[Trial] = []

        def slow_down(event: Event) -> None:
            if isinstance(event, TrialEnded):
                for trial in previous:
                    assert trial.model is not None
                    architecture = store.architecture(trial.model.hash)
                    evaluation = slow(architecture, lambda progress: None)
                    replace_stored(store, "fake-latency", architecture, evaluation)
                previous[:] = [event.trial]

        objectives = (Objective(name="loss"), Objective(name="decode"))
        spec = spec.model_copy(update={"objectives": objectives, "trials": 40})
        trials = run_with_fakes(spec, store, stages, listener=slow_down)
        stopped = [trial for trial in trials if trial.state == "stopped"]
        assert stopped
        assert {_rival(trial) - trial.number for trial in stopped} == {-1}


def _rival(trial: Trial) -> int:
    """Return the number of the candidate that stopped a trial."""
    assert trial.outcome is not None
    (number,) = re.findall(r"trial (\d+), which", str(trial.outcome.reason))
    return int(number)


def _constant(
    name: str, low: float, value: float = 5.0
) -> Callable[[Architecture, Report], Evaluation]:
    """Return a function that measures the same for any architecture, in ms."""
    score = Score(name=name, value=value, unit="ms", low=low, high=value + 1)
    return lambda architecture, report: Evaluation(scores=(score,), seconds=0.0)


class TestFailures:
    def test_an_infeasible_candidate_has_its_reason(self, spec: StudySpec, store: Store) -> None:
        costs, latency, training = all_stages()

        def refuse(architecture: Architecture, report: Report) -> Evaluation:
            raise Infeasible("it has no such layers")

        latency.measure = refuse
        spec = spec.model_copy(update={"references": ("lfm2-350m",)})
        trials = run_with_fakes(spec, store, (costs, latency, training))
        for trial in (*trials, *store.trials(spec.name, "reference")):
            assert trial.outcome is not None
            assert (trial.outcome.state, trial.outcome.stage) == ("infeasible", "latency")
            assert trial.outcome.reason == "it has no such layers"
        assert training.asked == []

    def test_a_failed_stage_is_a_result_with_its_kind_and_reason(
        self, spec: StudySpec, store: Store
    ) -> None:
        costs, latency, training = all_stages()
        latency.failing = lambda architecture: unlucky(architecture, 0.5)
        latency.failure = "build error"
        trials = run_with_fakes(spec, store, (costs, latency, training))
        failed = [trial for trial in trials if trial.state == "failed"]
        assert 0 < len(failed) < 6
        for trial in failed:
            assert trial.outcome is not None
            assert (trial.outcome.failure, trial.outcome.stage) == ("build error", "latency")
            assert trial.outcome.reason == "requested by the test"
            assert set(trial.values) == {"parameters", "memory"}
            assert trial.model is not None
            assert trial.model.hash not in training.asked

    def test_a_remark_is_passed_on_although_the_stage_fails(
        self, spec: StudySpec, store: Store
    ) -> None:
        costs, latency, training = all_stages()
        count = itertools.count(1)

        def fail(architecture: Architecture, report: Report) -> Evaluation:
            report(Progress(done=0.5, text="half of it", remark=f"remark {next(count)}"))
            raise EvaluationFailed("diverged", "requested by the test")

        training.measure = fail
        events: list[Event] = []
        trials = run_with_fakes(spec, store, (costs, latency, training), listener=events.append)
        failed = [trial for trial in trials if trial.state == "failed"]
        assert failed
        assert [event.text for event in events if isinstance(event, Remark)] == [
            f"{trial.title}: remark {number}" for number, trial in enumerate(failed, start=1)
        ]

    def test_a_loss_that_is_not_a_number_is_a_failure(self, spec: StudySpec, store: Store) -> None:
        stages = all_stages()
        loss = stages[2].measure

        def diverge(architecture: Architecture, report: Report) -> Evaluation:
            evaluation = loss(architecture, report)
            (score,) = evaluation.scores
            return replace(evaluation, scores=(replace(score, value=float("nan")),))

        stages[2].measure = diverge
        outcomes = [trial.outcome for trial in run_with_fakes(spec, store, stages)]
        assert {outcome.failure for outcome in outcomes if outcome is not None} == {"diverged"}
