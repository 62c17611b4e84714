"""Tests of fronts with studies that are small enough for the answer to be known."""

import pytest

from evaluators.calibration import CalibrationKey
from evaluators.evaluator import CalibratedRatio, Score
from studies.analysis import study_front, summaries
from studies.records import Outcome
from studies.spec.study_spec import to_json
from studies.spec.study_tables import Objective
from studies.storage.store import Store
from tests.studies.analysis.written_study import (
    Written,
    numbered_architecture,
    numbers,
    summary_of,
)
from tests.studies.fakes import small_spec


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


def test_a_front_of_known_members(written: Written) -> None:
    written.trial(loss=2.0, decode=9.0)
    written.trial(loss=1.0, decode=20.0)
    written.trial(loss=2.0, decode=10.0)  # dominated by the first
    written.trial(loss=3.0, decode=5.0)
    written.trial("infeasible", decode=40.0)
    written.trial("stopped", decode=1.0)
    written.trial("failed")
    found = study_front.front(written.store, "small")
    assert numbers(found.members) == [1, 0, 3]
    assert numbers(found.dominated) == [2]
    assert numbers(found.infeasible) == [4]
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
        found = study_front.front(written.store, "small")
        assert numbers(found.members) == [0, 1]
        assert numbers(found.dominated) == [2, 3]

    def test_it_is_no_knee_and_adds_no_hypervolume(self, written: Written) -> None:
        written.trial(loss=3.0, decode=10.0)
        written.trial(loss=1.0, decode=30.0)
        before = study_front.front(written.store, "small")
        written.trial(loss=1.5, decode=11.0, provisional=["decode"])
        found = study_front.front(written.store, "small")
        assert numbers(found.members) == [1, 2, 0]
        assert found.hypervolume == before.hypervolume
        assert found.knee == before.knee

    def test_it_advances_the_front_once_it_is_settled(self, written: Written) -> None:
        written.trial(loss=3.0, decode=10.0)
        written.trial(loss=1.0, decode=30.0)
        late = written.trial(loss=1.5, decode=50.0, provisional=["decode"])
        assert [advance.trial.number for advance in summary_of(written).advances] == [0, 1]
        written.settle(late, loss=1.5, decode=11.0)
        found = summary_of(written)
        assert [advance.trial.number for advance in found.advances] == [0, 1, 2]
        assert found.front.knee is not None
        assert found.front.knee.number == late.number
        assert found.advances[-1].hypervolume == pytest.approx(found.front.hypervolume)

    def test_the_knee_of_nothing_but_such_candidates_is_one_of_them(self, written: Written) -> None:
        for number in range(3):
            written.trial(loss=1.0 + number, decode=9.0 - number, provisional=["decode"])
        found = study_front.front(written.store, "small")
        assert len(found.members) == 3
        assert found.knee in found.members
        assert found.hypervolume == 0.0

    def test_another_provisional_score_does_not_matter(self, written: Written) -> None:
        """Only the objectives decide who dominates."""
        written.trial(loss=1.0, decode=5.0, memory=7.0, provisional=["memory"])
        written.trial(loss=2.0, decode=9.0)
        found = study_front.front(written.store, "small", ["memory"])
        assert numbers(found.members) == [0]
        assert found.hypervolume > 0

    def test_a_followed_study_has_the_same_front(self, written: Written) -> None:
        written.trial(loss=1.0, decode=5.0, provisional=["decode"])
        written.trial(loss=2.0, decode=9.0)
        written.trial(loss=2.5, decode=10.0)
        found = summary_of(written).front
        assert found == study_front.front(written.store, "small", ["loss", "decode"])


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
    assert study_front.is_provisional(spec, score) == expected


def test_equal_scores_share_the_front_and_duplicates_are_left_out(
    written: Written,
) -> None:
    first = written.trial(loss=2.0, decode=9.0)
    written.trial(loss=2.0, decode=9.0)
    written.trial(earlier_duplicate=first)
    found = study_front.front(written.store, "small")
    assert numbers(found.members) == [0, 1]
    assert summaries.status(written.store, "small").counts.duplicates == 1


def test_an_architecture_that_two_processes_evaluated_at_once_is_counted_once(
    written: Written,
) -> None:
    trials = [written.store.claim("small", total=9) for _ in range(2)]
    scores = {"loss": 2.0, "decode": 9.0}
    for trial in trials:
        assert trial is not None
        begun = written.store.begin(trial, numbered_architecture(1))
        written.evaluate(begun, numbered_architecture(1), scores)
        written.store.end(begun, Outcome(state="complete"))
    assert numbers(study_front.front(written.store, "small").members) == [0]


def test_reference_models_are_not_members_of_the_front(written: Written) -> None:
    written.trial(loss=2.0, decode=9.0)
    written.reference("lfm2-350m", loss=1.0, decode=1.0)
    written.reference("lfm2-700m", decode=1.0)  # its loss is not known
    found = study_front.front(written.store, "small")
    assert numbers(found.members) == [0]
    assert [trial.reference for trial in found.references] == ["lfm2-350m"]


def test_a_study_without_a_complete_candidate(written: Written) -> None:
    written.trial("infeasible", decode=40.0)
    found = study_front.front(written.store, "small")
    assert (found.members, found.knee, found.hypervolume) == ((), None, 0.0)
    assert [axis.name for axis in found.axes] == ["loss", "decode"]
    assert study_front.best(written.store, found, "loss", {}) is None
    assert summary_of(written).advances == ()


def test_hypervolumes_are_comparable_over_time(written: Written) -> None:
    """The first candidates determine the reference point, so that growth means progress."""
    for number in range(written.spec.sampler.startup_trials):
        written.trial(loss=5.0 + number, decode=50.0 - number)
    before = study_front.front(written.store, "small")
    written.trial(loss=100.0, decode=1.0)
    written.trial(loss=3.0, decode=30.0)
    written.trial(loss=4.0, decode=31.0)
    after = study_front.front(written.store, "small")
    assert after.reference_point == before.reference_point
    assert after.hypervolume > before.hypervolume
    grown = summary_of(written).advances
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
        found = study_front.front(store, "small")
    assert found.reference_point == (2.0, 12.0)
    assert found.axes[1].max == 12.0


def test_the_best_under_limits(written: Written) -> None:
    written.trial(loss=1.0, decode=20.0, memory=5.0)
    written.trial(loss=2.0, decode=9.0, memory=8.0)
    written.trial(loss=2.5, decode=9.5, memory=2.0)

    def best(score: str, **limits: float) -> int | None:
        found = study_front.front(written.store, "small", [score, *limits])
        trial = study_front.best(written.store, found, score, limits)
        return None if trial is None else trial.number

    assert best("loss") == 0
    assert best("loss", decode=20.0) == 0
    assert best("loss", decode=19.9) == 1
    assert best("loss", decode=10.0, memory=4.0) == 2
    assert best("memory") == 2
    assert best("loss", decode=1.0) is None
    with pytest.raises(ValueError, match="max: 'speed' is not one of decode, loss, memory"):
        best("loss", speed=1.0)


class TestBestWithProvisionalScores:
    """A provisional value decides nothing if there is a candidate with settled ones."""

    def best(self, written: Written, score: str, **limits: float) -> tuple[int, list[int]]:
        """Return the number of the best candidate and of those that were left out."""
        found = study_front.front(written.store, "small", [score, *limits])
        trial = study_front.best(written.store, found, score, limits)
        assert trial is not None
        left_out = study_front.left_out(found, trial, score, limits)
        return trial.number, [point.number for point in left_out]

    def test_one_with_a_provisional_limited_score_is_left_out(self, written: Written) -> None:
        late = written.trial(loss=1.0, decode=9.0, provisional=["decode"])
        written.trial(loss=2.0, decode=9.5)
        written.trial(loss=3.0, decode=8.0)
        assert self.best(written, "loss", decode=10.0) == (1, [0])
        written.settle(late, loss=1.0, decode=9.0)
        assert self.best(written, "loss", decode=10.0) == (0, [])

    def test_so_is_one_whose_minimised_score_is_provisional(self, written: Written) -> None:
        written.trial(loss=2.0, decode=9.0, memory=5.0, provisional=["decode"])
        written.trial(loss=1.0, decode=9.5, memory=6.0)
        written.trial(loss=1.5, decode=8.0, memory=9.0, provisional=["decode"])
        assert self.best(written, "decode", memory=7.0) == (1, [0])
        assert self.best(written, "decode", memory=9.0) == (1, [2, 0])

    def test_another_provisional_score_does_not_matter(self, written: Written) -> None:
        written.trial(loss=1.0, decode=9.0, memory=5.0, provisional=["decode"])
        written.trial(loss=2.0, decode=9.5, memory=6.0)
        assert self.best(written, "loss", memory=7.0) == (0, [])

    def test_one_that_is_worse_or_beyond_a_limit_is_not_reported(self, written: Written) -> None:
        written.trial(loss=2.0, decode=9.0)
        written.trial(loss=2.5, decode=8.0, provisional=["decode"])
        written.trial(loss=1.0, decode=11.0, provisional=["decode"])
        assert self.best(written, "loss", decode=10.0) == (0, [])

    def test_it_is_chosen_if_no_settled_one_is_within_the_limits(self, written: Written) -> None:
        written.trial(loss=1.0, decode=20.0)
        written.trial(loss=2.0, decode=9.0, provisional=["decode"])
        written.trial(loss=1.5, decode=9.5, provisional=["decode"])
        assert self.best(written, "loss", decode=10.0) == (2, [])


def test_a_limit_on_an_unknown_score_is_an_error_before_any_candidate_is_complete(
    written: Written,
) -> None:
    found = study_front.front(written.store, "small")
    assert study_front.best(written.store, found, "loss", {"memory": 1.0}) is None
    with pytest.raises(ValueError, match="max: 'speed' is not one of decode, decode_memory, "):
        study_front.best(written.store, found, "loss", {"speed": 1.0})
