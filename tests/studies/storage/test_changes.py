"""Changes of ended trials: measured again, refused, and resumed."""

from dataclasses import replace

import pytest

from evaluators.calibration import Calibration
from evaluators.evaluator import CurvePoint, Evaluation, Score
from hardware.measurement import Measurement, parse_workload
from search_space.architecture import architecture_hash
from studies.records import Outcome, StageRun, Trial
from studies.storage.store import Store
from tests.evaluators.calibration_conformance import DECODE, timing
from tests.studies.fakes import ENVIRONMENT
from tests.studies.storage.timed_trials import (
    ARCHITECTURES,
    COMPLETE,
    ended,
    replace_stored,
    reread,
    timed,
)

ONE, OTHER, THIRD, _ = ARCHITECTURES
REFUSED = Outcome(
    state="infeasible",
    stage="latency",
    reason="decode: 6.1 ms is above the limit of 5 ms",
    exceeded={"decode": 5.9, "memory": 1 / 3},
)
_SAMPLES = (2_000_000, 2_100_000)
RUN = Measurement(
    workload=parse_workload("tg64@512"),
    runtime="fake",
    threads=1,
    cores=(),
    samples_ns=_SAMPLES,
    warmup_ns=(3_000_000,),
    load_ns=1,
    peak_memory_bytes=2,
    environment=ENVIRONMENT,
    window=1,
    waited_ns=(0, 50_000),
    measured_at=2e9,
)
PAIRED = replace(RUN, reference=replace(RUN, samples_ns=(1_000_000, 900_000)))
PROMPT = replace(PAIRED, workload=parse_workload("pp512"))


@pytest.fixture
def calibration(store: Store) -> Calibration:
    store.add_timings({DECODE: timing(10.0, 0.005)})
    found = store.calibration(DECODE)
    assert found is not None
    return found


def simple(value: float, *measurements: Measurement) -> Evaluation:
    score = Score(name="decode", value=value, unit="ms", low=value, high=value)
    return Evaluation(scores=(score,), seconds=2.0, measurements=measurements)


def changed(store: Store, revision: int, study: str = "ours") -> set[int]:
    return set(store.changed_trials(study, revision))


class TestReplacement:
    def test_everything_of_an_evaluation_is_replaced(
        self, store: Store, calibration: Calibration
    ) -> None:
        first = timed(calibration, 0.5, provisional=True, measurements=(PAIRED, PROMPT))
        other = timed(calibration, 0.7, measurements=(PAIRED,))
        store.save_evaluation("latency", ONE, first)
        store.save_evaluation("latency", OTHER, other)
        store.save_evaluation("again latency", ONE, first)
        refined = timed(
            calibration, 0.51, measurements=(PAIRED, PROMPT, replace(PAIRED, load_ns=9), PROMPT)
        )
        fewer = replace(refined, seconds=5.0, scores=refined.scores[:1], measurements=(PROMPT,))
        for later in (refined, fewer):
            replace_stored(store, "latency", ONE, later)
            assert store.load_evaluation("latency", ONE) == later
        assert store.load_evaluation("latency", OTHER) == other
        assert store.load_evaluation("again latency", ONE) == first

    def test_the_trials_of_all_studies_change(self, store: Store) -> None:
        store.add_study("theirs", "{}")
        evaluations = {"costs": simple(1.0), "latency": simple(2.0)}
        ours = ended(store, ONE, evaluations)
        duplicate = ended(store, ONE, evaluations)
        theirs = ended(store, ONE, evaluations, study="theirs")
        ended(store, OTHER, evaluations)
        ended(store, THIRD, {"costs": simple(1.0)})
        revisions = store.revision("ours"), store.revision("theirs")
        replace_stored(store, "latency", ONE, simple(2.5))
        assert changed(store, revisions[0]) == {ours.id, duplicate.id}
        assert changed(store, revisions[1], "theirs") == {theirs.id}
        for trial in (ours, duplicate, theirs):
            assert reread(store, trial).values == {"decode": 2.5}

    def test_every_run_of_the_model_counts_but_none_of_the_reference(self, store: Store) -> None:
        trial = ended(store, ONE, {"costs": simple(1.0), "latency": simple(2.0, PAIRED, PROMPT)})
        assert store.runs(trial, "latency") == 1
        replace_stored(store, "latency", ONE, simple(2.0, PAIRED, PROMPT, PAIRED))
        assert store.runs(trial, "latency") == 2
        assert store.runs(trial, "costs") == 0
        assert store.runs(trial, "never") == 0


class TestRevision:
    def test_it_increases_with_every_change(self, store: Store) -> None:
        first = ended(store, ONE, {"latency": simple(2.0)})
        second = ended(store, OTHER, {"latency": simple(3.0)})
        assert store.revision("ours") == 0
        seen = [0]
        for change in (
            lambda: replace_stored(store, "latency", ONE, simple(2.5)),
            lambda: replace_stored(store, "latency", OTHER, simple(3.5)),
            lambda: store.refuse(reread(store, first), REFUSED),
            lambda: store.reopen(reread(store, first)),
            lambda: replace_stored(store, "latency", OTHER, simple(3.6)),
        ):
            change()
            seen.append(store.revision("ours"))
        assert seen == sorted(set(seen))
        assert changed(store, seen[-1]) == set()
        assert changed(store, seen[-2]) == {second.id}
        assert changed(store, seen[-3]) == {first.id, second.id}

    def test_a_calibration_that_changes_noticeably_changes_the_trials_with_its_times(
        self, store: Store, calibration: Calibration
    ) -> None:
        first = ended(store, ONE, {"latency": timed(calibration, 0.5)})
        second = ended(store, OTHER, {"text": timed(calibration, 90.0, name="decode_per_byte")})
        ended(store, THIRD, {"costs": simple(1.0)})
        store.add_timings({DECODE: timing(10.0, 0.5)})
        assert store.revision("ours") == 0
        store.add_timings({DECODE: timing(11.0, 0.005)})
        assert changed(store, 0) == {first.id, second.id}

    def test_a_running_trial_is_not_marked(self, store: Store) -> None:
        """A process that follows the study reads it again anyway."""
        claimed = store.claim("ours", total=9)
        assert claimed is not None
        store.save_evaluation("latency", ONE, simple(2.0))
        trial = store.begin(claimed, ONE)
        run = StageRun(stage="latency", fingerprint="latency", seconds=1.0)
        store.leave(trial, run, finished=True)
        replace_stored(store, "latency", ONE, simple(2.5))
        assert reread(store, trial).values == {"decode": 2.5}
        assert store.revision("ours") == 0

    def test_an_unknown_study_is_an_error(self, store: Store) -> None:
        with pytest.raises(ValueError, match="thiers"):
            store.revision("thiers")
        with pytest.raises(ValueError, match="thiers"):
            store.changed_trials("thiers", 0)


class TestJudgedAgain:
    """Refusal and reopening of an ended trial, with its duplicates."""

    @pytest.fixture
    def trials(self, store: Store) -> tuple[Trial, Trial, Trial, Trial]:
        """A candidate, its duplicate, and two that have nothing to do with it."""
        store.add_study("theirs", "{}")
        evaluations = {"latency": simple(6.0)}
        found = [ended(store, each, evaluations) for each in (ONE, ONE, OTHER)]
        assert [trial.duplicate_of for trial in found] == [None, 0, None]
        theirs = [ended(store, ONE, evaluations, study="theirs") for _ in range(2)]
        return (*found, theirs[1])

    def test_a_complete_trial_is_refused_with_its_duplicates(
        self, store: Store, trials: tuple[Trial, ...]
    ) -> None:
        first, duplicate, *others = trials
        assert store.refuse(first, REFUSED)
        for trial in (first, duplicate):
            found = reread(store, trial)
            assert (found.state, found.outcome) == ("infeasible", REFUSED)
            # What is known about it stays.
            assert (found.scores, found.stages) == (trial.scores, trial.stages)
            assert (found.ended_at, found.duplicate_of) == (trial.ended_at, trial.duplicate_of)
        assert [reread(store, trial) for trial in others] == others

    def test_a_stopped_trial_that_is_refused_keeps_its_curve(self, store: Store) -> None:
        stopped = Outcome(
            state="stopped",
            stage="training",
            reason="dominated",
            estimated_loss=2.5,
            curve=(CurvePoint(tokens=8, loss=3.0),),
        )
        trial = ended(store, ONE, {"latency": simple(6.0)}, outcome=stopped)
        assert store.refuse(trial, REFUSED)
        known = replace(REFUSED, estimated_loss=2.5, curve=stopped.curve)
        assert reread(store, trial).outcome == known

    def test_a_reopened_trial_is_resumed_with_its_duplicates(
        self, store: Store, trials: tuple[Trial, ...]
    ) -> None:
        first, duplicate, *others = trials
        assert store.refuse(first, REFUSED)
        assert store.reopen(reread(store, first))
        for trial in (first, duplicate):
            found = reread(store, trial)
            assert (found.state, found.outcome, found.owner) == ("interrupted", None, None)
            assert (found.ended_at, found.stage, found.duplicate_of) == (None, None, None)
            assert (found.model, found.scores) == (trial.model, trial.scores)
        assert [reread(store, trial) for trial in others] == others

        # Both are resumed before a new candidate, and one is the duplicate of the other again.
        resumed = [store.claim("ours", total=4) for _ in range(3)]
        assert [trial and trial.number for trial in resumed] == [0, 1, 3]
        again, twice, new = resumed
        assert again is not None
        assert twice is not None
        assert new is not None
        assert new.model is None
        done = store.end(again, COMPLETE)
        assert (done.outcome, done.scores) == (COMPLETE, first.scores)
        assert store.earlier_duplicate(twice) == done
        assert store.end(twice, COMPLETE, earlier_duplicate=done).duplicate_of == 0

    def test_a_trial_that_has_changed_since_it_was_judged_stays(
        self, store: Store, trials: tuple[Trial, ...]
    ) -> None:
        first, duplicate, other, _ = trials
        replace_stored(store, "latency", ONE, simple(4.0))
        assert not store.refuse(first, REFUSED)
        current = reread(store, first)
        assert current.state == "complete"
        assert store.refuse(current, REFUSED)
        # Another process has judged it in the meantime.
        revision = store.revision("ours")
        assert not store.refuse(current, REFUSED)
        assert not store.reopen(current)
        refused = reread(store, first)
        assert store.reopen(refused)
        assert not store.reopen(refused)
        assert reread(store, duplicate).state == "interrupted"
        assert changed(store, revision) == {first.id, duplicate.id}
        assert reread(store, other) == other

    def test_the_exceeded_limits_of_an_outcome_are_stored(self, store: Store) -> None:
        trial = ended(store, ONE, {"latency": simple(6.0)}, outcome=REFUSED)
        assert trial.outcome == REFUSED


class TestProvisionalScores:
    def test_a_trial_and_a_point_name_them_until_the_trial_is_measured_again(
        self, store: Store, calibration: Calibration
    ) -> None:
        unreliable = {"latency": timed(calibration, 0.5, provisional=True)}
        found = ended(store, ONE, unreliable)
        ended(store, OTHER, {"latency": timed(calibration, 0.5)})
        ended(store, THIRD, unreliable, outcome=REFUSED)
        assert found.provisional(["decode", "memory"]) == ("decode",)
        assert found.provisional(["memory"]) == ()
        first, second = store.points("ours", ["complete"], ["decode", "memory"])
        assert (first.provisional, second.provisional) == ({"decode"}, set())
        assert first.architecture == architecture_hash(ONE)

        replace_stored(store, "latency", ONE, timed(calibration, 0.5))
        assert reread(store, found).provisional(["decode"]) == ()
        assert not any(
            point.provisional for point in store.points("ours", ["complete"], ["decode"])
        )
