"""Tests of summaries with studies that are small enough for the answer to be known."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from evaluators.calibration import CalibrationKey
from evaluators.evaluator import CalibratedRatio, Evaluation, Score
from search_space.architecture import Architecture, Layer, ShortConv, architecture_hash
from search_space.preset_models import preset
from studies.analysis import followed_study, summaries
from studies.analysis.followed_study import FollowedStudy
from studies.records import Outcome, ScoredPoint, StageRun, Trial
from studies.search.loop import run_study
from studies.spec.study_spec import Objective, StudySpec, to_json
from studies.storage.store import Store
from tests.studies.fakes import ENVIRONMENT, all_stages, small_spec

_UNITS = {"loss": "bits/byte", "decode": "ms", "memory": "MB"}


@dataclass
class Written:
    """A study whose trials a test chooses."""

    store: Store
    spec: StudySpec
    _count: int = field(default=0)

    def trial(
        self,
        outcome: str = "complete",
        *,
        earlier_duplicate: Trial | None = None,
        provisional: Collection[str] = (),
        **values: float,
    ) -> Trial:
        trial = self.store.claim(self.spec.name, total=10_000)
        assert trial is not None
        self._count += 1
        architecture = _architecture(self._count)
        if earlier_duplicate is not None:
            assert earlier_duplicate.model is not None
            architecture = self.store.architecture(earlier_duplicate.model.hash)
        begun = self.store.begin(trial, architecture)
        if earlier_duplicate is None:
            self._evaluate(begun, architecture, values, provisional)
        end = Outcome(
            state=outcome,
            stage=None if outcome == "complete" else "all",
            reason=None if outcome == "complete" else "chosen by the test",
            failure="diverged" if outcome == "failed" else None,
        )
        return self.store.end(begun, end, earlier_duplicate=earlier_duplicate)

    def reference(self, name: str, **values: float) -> Trial:
        trial = self.store.claim_reference(self.spec.name, name)
        assert trial is not None
        begun = self.store.begin(trial, preset(name))
        self._evaluate(begun, preset(name), values)
        return self.store.end(begun, Outcome(state="complete"))

    def settle(self, trial: Trial, **values: float) -> None:
        """Replace the scores of a trial by settled ones."""
        assert trial.model is not None
        architecture = self.store.architecture(trial.model.hash)
        self.store.replace_evaluation("all 1", architecture, _evaluation(values, ()))

    def _evaluate(
        self,
        trial: Trial,
        architecture: Architecture,
        values: Mapping[str, float],
        provisional: Collection[str] = (),
    ) -> None:
        self.store.save_evaluation("all 1", architecture, _evaluation(values, provisional))
        run = StageRun(stage="all", fingerprint="all 1", seconds=0.5)
        self.store.leave(trial, run, finished=True)


def _calibrated(*, provisional: bool) -> Score:
    """Return a time whose own interval is wide, but not that of its ratio."""
    key = CalibrationKey(device="board", reference="ab", workload="tg64@1024")
    measured = CalibratedRatio(calibration=key, ratio=1.0, low=0.99, high=1.01)
    return Score(
        name="decode",
        value=9.0,
        unit="ms",
        low=7.0,
        high=11.0,
        provisional=provisional,
        measured=measured,
    )


def _evaluation(values: Mapping[str, float], provisional: Collection[str]) -> Evaluation:
    scores = tuple(
        Score(name=name, value=value, unit=_UNITS[name], provisional=name in provisional)
        for name, value in values.items()
    )
    return Evaluation(scores=scores, seconds=1.0)


def _architecture(number: int) -> Architecture:
    layer = Layer(mixer=ShortConv(kernel=1), feed_forward_width=number)
    return Architecture(vocab_size=256, width=64, embedding_width=64, layers=(layer,))


@pytest.fixture
def written(sqlite_url: str) -> Iterator[Written]:
    objectives = (Objective(name="loss"), Objective(name="decode"))
    spec = small_spec(sqlite_url, objectives=objectives)
    with Store.open(sqlite_url) as store:
        store.add_study(spec.name, to_json(spec))
        yield Written(store, spec)


def _numbers(trials: tuple[Trial, ...] | tuple[ScoredPoint, ...]) -> list[int]:
    return [trial.number for trial in trials]


def _study_summary(written: Written) -> summaries.StudySummary:
    followed = FollowedStudy(written.store, "small")
    followed.catch_up()
    return summaries.study_summary(followed)


def test_a_front_of_known_members(written: Written) -> None:
    written.trial(loss=2.0, decode=9.0)
    written.trial(loss=1.0, decode=20.0)
    written.trial(loss=2.0, decode=10.0)  # dominated by the first
    written.trial(loss=3.0, decode=5.0)
    written.trial("infeasible", decode=40.0)
    written.trial("stopped", decode=1.0)
    written.trial("failed")
    found = summaries.front(written.store, "small")
    assert _numbers(found.members) == [1, 0, 3]
    assert _numbers(found.dominated) == [2]
    assert _numbers(found.infeasible) == [4]
    assert [(axis.name, axis.unit, axis.max) for axis in found.axes] == [
        ("loss", "bits/byte", None),
        ("decode", "ms", None),
    ]
    assert found.knee is not None
    assert found.knee.number == 0
    # A tenth beyond the worst of all: 3 + 0.2 and 20 + 1.5. The area is three steps.
    assert found.reference_point == pytest.approx((3.2, 21.5))
    area = (3.2 - 1.0) * (21.5 - 20.0) + (3.2 - 2.0) * (20.0 - 9.0) + (3.2 - 3.0) * (9.0 - 5.0)
    assert found.hypervolume == pytest.approx(area)


class TestProvisionalTimes:
    def test_such_a_candidate_dominates_none(self, written: Written) -> None:
        written.trial(loss=1.0, decode=5.0, provisional=["decode"])
        written.trial(loss=2.0, decode=9.0)
        written.trial(loss=3.0, decode=20.0, provisional=["decode"])
        written.trial(loss=2.5, decode=10.0)
        found = summaries.front(written.store, "small")
        assert _numbers(found.members) == [0, 1]
        assert _numbers(found.dominated) == [2, 3]

    def test_it_is_no_knee_and_adds_no_hypervolume(self, written: Written) -> None:
        written.trial(loss=3.0, decode=10.0)
        written.trial(loss=1.0, decode=30.0)
        before = summaries.front(written.store, "small")
        written.trial(loss=1.5, decode=11.0, provisional=["decode"])
        found = summaries.front(written.store, "small")
        assert _numbers(found.members) == [1, 2, 0]
        assert found.hypervolume == before.hypervolume
        assert found.knee == before.knee

    def test_it_advances_the_front_once_it_is_settled(self, written: Written) -> None:
        written.trial(loss=3.0, decode=10.0)
        written.trial(loss=1.0, decode=30.0)
        late = written.trial(loss=1.5, decode=50.0, provisional=["decode"])
        assert [advance.trial.number for advance in _study_summary(written).advances] == [0, 1]
        written.settle(late, loss=1.5, decode=11.0)
        found = _study_summary(written)
        assert [advance.trial.number for advance in found.advances] == [0, 1, 2]
        assert found.front.knee is not None
        assert found.front.knee.number == late.number
        assert found.advances[-1].hypervolume == pytest.approx(found.front.hypervolume)

    def test_the_knee_of_nothing_but_such_candidates_is_one_of_them(self, written: Written) -> None:
        for number in range(3):
            written.trial(loss=1.0 + number, decode=9.0 - number, provisional=["decode"])
        found = summaries.front(written.store, "small")
        assert len(found.members) == 3
        assert found.knee in found.members
        assert found.hypervolume == 0.0

    def test_another_provisional_score_does_not_matter(self, written: Written) -> None:
        """Only the objectives decide who dominates."""
        written.trial(loss=1.0, decode=5.0, memory=7.0, provisional=["memory"])
        written.trial(loss=2.0, decode=9.0)
        found = summaries.front(written.store, "small", ["memory"])
        assert _numbers(found.members) == [0]
        assert found.hypervolume > 0

    def test_a_followed_study_has_the_same_front(self, written: Written) -> None:
        written.trial(loss=1.0, decode=5.0, provisional=["decode"])
        written.trial(loss=2.0, decode=9.0)
        written.trial(loss=2.5, decode=10.0)
        found = _study_summary(written).front
        assert found == summaries.front(written.store, "small", ["loss", "decode"])


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (Score(name="loss", value=2.0, unit="bits/byte", provisional=True), False),
        (Score(name="memory", value=2.0, unit="MB", provisional=True), False),
        (Score(name="prefill", value=2.0, unit="ms"), False),  # not asked for
        (Score(name="decode", value=9.0, unit="ms"), True),  # its interval is not known
        (Score(name="decode", value=9.0, unit="ms", low=8.9, high=9.1), False),
        (Score(name="decode", value=9.0, unit="ms", low=8.0, high=10.0), True),
        (Score(name="decode", value=9.0, unit="ms", low=8.9, high=9.1, provisional=True), True),
        # The interval also covers the reference model's time, which says nothing about this one.
        (_calibrated(provisional=False), False),
        (_calibrated(provisional=True), True),
    ],
)
def test_which_scores_are_provisional(score: Score, expected: bool) -> None:
    objectives = (Objective(name="loss"), Objective(name="decode"))
    spec = small_spec("sqlite:///nas.db", objectives=objectives)
    assert summaries.is_provisional(spec, score) == expected


def test_equal_scores_share_the_front_and_duplicates_are_left_out(
    written: Written,
) -> None:
    first = written.trial(loss=2.0, decode=9.0)
    written.trial(loss=2.0, decode=9.0)
    written.trial(earlier_duplicate=first)
    found = summaries.front(written.store, "small")
    assert _numbers(found.members) == [0, 1]
    assert summaries.status(written.store, "small").counts.duplicates == 1


def test_an_architecture_that_two_processes_evaluated_at_once_is_counted_once(
    written: Written,
) -> None:
    trials = [written.store.claim("small", total=9) for _ in range(2)]
    scores = {"loss": 2.0, "decode": 9.0}
    for trial in trials:
        assert trial is not None
        begun = written.store.begin(trial, _architecture(1))
        written._evaluate(begun, _architecture(1), scores)
        written.store.end(begun, Outcome(state="complete"))
    assert _numbers(summaries.front(written.store, "small").members) == [0]


def test_reference_models_are_not_members_of_the_front(written: Written) -> None:
    written.trial(loss=2.0, decode=9.0)
    written.reference("lfm2-350m", loss=1.0, decode=1.0)
    written.reference("lfm2-700m", decode=1.0)  # its loss is not known
    found = summaries.front(written.store, "small")
    assert _numbers(found.members) == [0]
    assert [trial.reference for trial in found.references] == ["lfm2-350m"]


def test_a_study_without_a_complete_candidate(written: Written) -> None:
    written.trial("infeasible", decode=40.0)
    found = summaries.front(written.store, "small")
    assert (found.members, found.knee, found.hypervolume) == ((), None, 0.0)
    assert [axis.name for axis in found.axes] == ["loss", "decode"]
    assert summaries.best(written.store, found, "loss", {}) is None
    assert _study_summary(written).advances == ()


def test_hypervolumes_are_comparable_over_time(written: Written) -> None:
    """The first candidates determine the reference point, so that growth means progress."""
    for number in range(written.spec.sampler.startup_trials):
        written.trial(loss=5.0 + number, decode=50.0 - number)
    before = summaries.front(written.store, "small")
    written.trial(loss=100.0, decode=1.0)
    written.trial(loss=3.0, decode=30.0)
    written.trial(loss=4.0, decode=31.0)
    after = summaries.front(written.store, "small")
    assert after.reference_point == before.reference_point
    assert after.hypervolume > before.hypervolume
    grown = _study_summary(written).advances
    # 100 is beyond the reference point, and the last one is dominated: neither adds anything.
    assert [advance.trial.number for advance in grown] == [*range(10), 11]
    assert [advance.ended for advance in grown] == [*range(1, 11), 12]
    assert grown[-1].hypervolume == pytest.approx(after.hypervolume)


def test_a_limit_is_the_reference_point(sqlite_url: str) -> None:
    objectives = (Objective(name="loss"), Objective(name="decode", max=12.0))
    spec = small_spec(sqlite_url, objectives=objectives)
    with Store.open(sqlite_url) as store:
        store.add_study(spec.name, to_json(spec))
        Written(store, spec).trial(loss=2.0, decode=9.0)
        found = summaries.front(store, "small")
    assert found.reference_point == (2.0, 12.0)
    assert found.axes[1].max == 12.0


def test_the_best_under_limits(written: Written) -> None:
    written.trial(loss=1.0, decode=20.0, memory=5.0)
    written.trial(loss=2.0, decode=9.0, memory=8.0)
    written.trial(loss=2.5, decode=9.5, memory=2.0)

    def best(score: str, **limits: float) -> int | None:
        found = summaries.front(written.store, "small", [score, *limits])
        trial = summaries.best(written.store, found, score, limits)
        return None if trial is None else trial.number

    assert best("loss") == 0
    assert best("loss", decode=20.0) == 0
    assert best("loss", decode=19.9) == 1
    assert best("loss", decode=10.0, memory=4.0) == 2
    assert best("memory") == 2
    assert best("loss", decode=1.0) is None
    with pytest.raises(ValueError, match="max: 'speed' is not one of decode, loss, memory"):
        best("loss", speed=1.0)


def test_a_limit_on_an_unknown_score_is_an_error_before_any_candidate_is_complete(
    written: Written,
) -> None:
    found = summaries.front(written.store, "small")
    assert summaries.best(written.store, found, "loss", {"memory": 1.0}) is None
    with pytest.raises(ValueError, match="max: 'speed' is not one of decode, decode_memory, "):
        summaries.best(written.store, found, "loss", {"speed": 1.0})


def test_a_reference_that_failed_is_among_the_failures(written: Written) -> None:
    reference = written.store.claim_reference("small", "lfm2-350m")
    assert reference is not None
    begun = written.store.begin(reference, preset("lfm2-350m"))
    end = Outcome(state="failed", stage="all", reason="no room", failure="out of memory")
    written.store.end(begun, end)
    (failure,) = summaries.status(written.store, "small").failures
    assert failure.reference == "lfm2-350m"


def test_the_status_of_a_study(written: Written) -> None:
    store = written.store
    first = written.trial(loss=2.0, decode=9.0)
    written.trial("infeasible", decode=40.0)
    written.trial("stopped", decode=1.0)
    written.trial("failed")
    written.trial(earlier_duplicate=first)
    running, interrupted = store.claim("small", total=99), store.claim("small", total=99)
    assert running is not None
    assert interrupted is not None
    store.begin(running, _architecture(900), rejections={"parameters": 3, "weight_mb": 1})
    store.interrupt(store.begin(interrupted, _architecture(901)))
    written.reference("lfm2-350m", loss=1.0, decode=1.0)

    found = summaries.status(store, "small")
    assert found.total == 6
    assert found.counts == summaries.Counts(
        complete=2,
        infeasible=1,
        stopped=1,
        failed=1,
        running=1,
        interrupted=1,
        duplicates=1,
        rejected=4,
    )
    assert found.counts.ended == 5
    assert _numbers(found.running) == [5]
    assert _numbers(found.failures) == [3]
    assert [trial.reference for trial in found.references] == ["lfm2-350m"]
    assert found.rejections == {"parameters": 3, "weight_mb": 1}
    assert found.stage_seconds == {"all": 5 * 0.5}


def test_everything_about_one_trial(sqlite_url: str) -> None:
    spec = small_spec(sqlite_url, trials=2, references=("lfm2-350m",))
    with Store.open(sqlite_url) as store:
        run_study(spec, evaluators=all_stages(), store=store)
        found = summaries.detail(store, "small", "1")
        assert found.trial == store.trials("small")[1]
        assert found.architecture is not None
        assert found.trial.model is not None
        assert architecture_hash(found.architecture) == found.trial.model.hash
        (measurement,) = found.evaluations["latency"].measurements
        assert measurement.environment == ENVIRONMENT
        assert len(measurement.samples_ns) == 3
        decode = next(score for score in found.trial.scores if score.name == "decode")
        assert decode.low is not None
        assert len(found.trial.curve) == 8
        assert [run.stage for run in found.trial.stages] == ["costs", "latency", "training"]
        assert summaries.detail(store, "small", "lfm2-350m").architecture == preset("lfm2-350m")
        for name in ("2", "lfm2-700m", "-1", "²", "9" * 30):
            with pytest.raises(ValueError, match=f"trial: '{name}' is neither a candidate number"):
                summaries.detail(store, "small", name)


def test_a_trial_whose_process_has_died_is_not_running(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = written.store.claim("small", total=99)
    assert trial is not None
    before = summaries.status(written.store, "small").counts
    monkeypatch.setattr(followed_study, "is_lost", lambda owner, seen_at: owner == trial.owner)
    after = summaries.status(written.store, "small")
    assert (before.running, before.interrupted) == (1, 0)
    assert (after.counts.running, after.counts.interrupted) == (0, 1)
    assert after.running == ()


def test_an_unknown_study_is_an_error(written: Written) -> None:
    for ask in (summaries.status, summaries.front, FollowedStudy):
        with pytest.raises(ValueError, match="study: 'thiers' is not in this database"):
            ask(written.store, "thiers")
    with pytest.raises(ValueError, match="thiers"):
        summaries.detail(written.store, "thiers", "0")


def test_a_followed_study_has_the_summary_of_a_study_that_is_read_at_once(written: Written) -> None:
    first = written.trial(loss=2.0, decode=9.0)
    written.trial(loss=1.0, decode=20.0)
    written.trial(loss=2.0, decode=10.0)
    written.trial("infeasible", decode=40.0)
    written.trial("stopped", decode=1.0)
    written.trial(earlier_duplicate=first)
    written.reference("lfm2-350m", loss=1.0, decode=1.0)
    found = _study_summary(written)
    assert found.front == summaries.front(written.store, "small", ["loss", "decode"])
    assert found.counts == summaries.status(written.store, "small").counts
    assert _numbers(found.complete) == [0, 1, 2]
