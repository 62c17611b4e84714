"""What happens when two processes change the same database at the same moment."""

import itertools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from evaluators.cache import refine_cached
from evaluators.evaluator import Evaluation
from studies.analysis.followed_study import FollowedStudy
from studies.owner import SignsOfLife
from studies.records import Outcome, StageRun, Trial
from studies.search.complete_trials import CompleteTrials
from studies.spec.study_spec import to_json
from studies.storage.schema import TRIALS
from studies.storage.store import Store
from tests.evaluators.calibration_conformance import DECODE, timing
from tests.studies.fakes import RefinableFake, decode_ms, small_spec
from tests.studies.storage.concurrency import (
    HeldTransaction,
    at_once,
    is_waiting_for_a_lock,
    wait_until,
)
from tests.studies.storage.timed_trials import ARCHITECTURES, COMPLETE, ended, reread, timed
from tests.studies.storage.timed_trials import replace_stored as replace_now

ONE, OTHER, THIRD, _ = ARCHITECTURES
REFUSED = Outcome(state="infeasible", stage="latency", reason="too slow", exceeded={"decode": 4.0})


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A study with two complete candidates and one that has been timed and is still running."""
    with Store.open(url) as store:
        store.add_study("small", to_json(small_spec(url)))
        store.add_timings({DECODE: timing(10.0, 0.005)})
        for architecture in (ONE, OTHER):
            ended(store, architecture, {"latency": _evaluation(store, 0.5)}, study="small")
        claimed = store.claim("small", total=9)
        assert claimed is not None
        running = store.begin(claimed, THIRD)
        store.save_evaluation("latency", THIRD, _evaluation(store, 0.5))
        run = StageRun(stage="latency", fingerprint="latency", seconds=1.0)
        store.leave(running, run, finished=True)
        yield store


def _evaluation(store: Store, ratio: float) -> Evaluation:
    calibration = store.calibration(DECODE)
    assert calibration is not None
    return timed(calibration, ratio)


def _trial(store: Store, number: int) -> Trial:
    (trial,) = store.trials("small", numbers=[number])
    return trial


def _replace(number: int) -> Callable[[Store], object]:
    architecture = ARCHITECTURES[number]
    return lambda store: replace_now(store, "latency", architecture, _evaluation(store, 0.75))


def _refuse(number: int) -> Callable[[Store], object]:
    return lambda store: store.refuse(_trial(store, number), REFUSED)


def _end(number: int) -> Callable[[Store], object]:
    return lambda store: store.end(_trial(store, number), COMPLETE)


def _time_reference(store: Store) -> object:
    return store.add_timings({DECODE: timing(20.0, 0.005)})


_PAIRS = {
    "two refusals": (_refuse(0), _refuse(1)),
    "a replacement and a refusal": (_replace(0), _refuse(1)),
    "a refusal and a replacement": (_refuse(0), _replace(1)),
    "two replacements": (_replace(0), _replace(1)),
    "a time of the reference model and a refusal": (_time_reference, _refuse(1)),
    "a refusal and a time of the reference model": (_refuse(0), _time_reference),
    "a replacement and the end of the trial": (_replace(2), _end(2)),
    "the end of a trial and a replacement": (_end(2), _replace(2)),
    "a time of the reference model and the end of a trial": (_time_reference, _end(2)),
}


class TestReaders:
    """Readers ask only for what is newer than the largest revision that they have seen."""

    @pytest.mark.parametrize("pair", _PAIRS.values(), ids=_PAIRS)
    def test_they_miss_no_change(
        self, store: Store, url: str, pair: tuple[Callable[[Store], object], ...]
    ) -> None:
        _check_readers(store, url, *pair)

    def test_they_miss_none_of_a_trial_that_fails_because_its_process_died(
        self, store: Store, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with store._database.write() as connection:
            connection.execute(TRIALS.update().values(kills=7))
        monkeypatch.setattr(SignsOfLife, "is_lost", lambda *_: True)
        _check_readers(store, url, _replace(2), lambda other: other.claim("small", total=9))
        assert _trial(store, 2).state == "failed"

    def test_they_miss_none_whatever_isolation_the_server_prefers(
        self, postgresql_url: str
    ) -> None:
        engine = sa.create_engine(postgresql_url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as connection:
            name = sa.make_url(postgresql_url).database
            setting = "default_transaction_isolation TO 'repeatable read'"
            connection.execute(sa.text(f"ALTER DATABASE {name} SET {setting}"))
        engine.dispose()
        with Store.open(postgresql_url) as store:
            store.add_study("small", to_json(small_spec(postgresql_url)))
            store.add_timings({DECODE: timing(10.0, 0.005)})
            for architecture in (ONE, OTHER):
                ended(store, architecture, {"latency": _evaluation(store, 0.5)}, study="small")
            _check_readers(store, postgresql_url, _refuse(0), _refuse(1))


def _check_readers(
    store: Store, url: str, one: Callable[[Store], object], other: Callable[[Store], object]
) -> None:
    """Let two changes overlap, look after every step, and compare with what is there in the end."""
    followed, complete = FollowedStudy(store, "small"), CompleteTrials("small", store)

    def look() -> None:
        followed.catch_up()
        complete.read()

    look()
    with HeldTransaction(url, one) as first, HeldTransaction(url, other) as second:
        first.start()
        wait_until(first.is_at_commit)
        look()
        second.start()
        wait_until(lambda: second.is_at_commit() or is_waiting_for_a_lock(url))
        for transaction in (second, first) if second.is_at_commit() else (first, second):
            wait_until(transaction.is_at_commit)
            look()
            transaction.commit()
            look()
    trials = store.trials("small")
    assert sorted(followed.trials.values(), key=lambda trial: trial.number) == list(trials)
    assert list(complete.read()) == [trial for trial in trials if trial.state == "complete"]


class TestReplacement:
    """Two processes have read the same evaluation, and both measure it again."""

    @pytest.fixture
    def evaluations(self, store: Store) -> tuple[Evaluation, Evaluation, Evaluation]:
        """The evaluation that was read, and the two that replace it."""
        earlier = store.load_evaluation("latency", ONE)
        assert earlier is not None
        return earlier, _evaluation(store, 0.75), _evaluation(store, 0.25)

    def test_the_second_one_replaces_nothing(
        self, store: Store, url: str, evaluations: tuple[Evaluation, ...]
    ) -> None:
        earlier, first, second = evaluations
        assert store.replace_evaluation("latency", ONE, earlier=earlier, refined=first)
        changed = store.revision("small")
        with Store.open(url) as other:
            assert not other.replace_evaluation("latency", ONE, earlier=earlier, refined=second)
        assert store.load_evaluation("latency", ONE) == first
        assert store.revision("small") == changed
        assert store.replace_evaluation("latency", ONE, earlier=first, refined=second)
        assert store.load_evaluation("latency", ONE) == second

    def test_neither_does_one_that_waited_for_the_first(
        self, store: Store, url: str, evaluations: tuple[Evaluation, ...]
    ) -> None:
        earlier, *refined = evaluations

        def replace_by(index: int) -> Callable[[Store], bool]:
            return lambda store: store.replace_evaluation(
                "latency", ONE, earlier=earlier, refined=refined[index]
            )

        with (
            HeldTransaction(url, replace_by(0)) as first,
            HeldTransaction(url, replace_by(1)) as second,
        ):
            first.start()
            wait_until(first.is_at_commit)
            second.start()
            wait_until(lambda: second.is_at_commit() or is_waiting_for_a_lock(url))
            assert first.commit()
            assert not second.commit()
        assert store.load_evaluation("latency", ONE) == refined[0]

    def test_another_time_of_the_reference_model_is_no_difference(
        self, store: Store, evaluations: tuple[Evaluation, ...]
    ) -> None:
        earlier, refined, _ = evaluations
        store.add_timings({DECODE: timing(20.0, 0.005)})
        assert store.load_evaluation("latency", ONE) != earlier
        assert store.replace_evaluation("latency", ONE, earlier=earlier, refined=refined)
        calibration = store.calibration(DECODE)
        assert calibration is not None
        decode, _ = reread(store, _trial(store, 0)).scores
        assert decode.value == pytest.approx(0.75 * calibration.milliseconds)

    def test_no_measurement_is_lost(self, store: Store, url: str) -> None:
        """Every run has a time of its own, and the score is the median of all."""
        device = RefinableFake(fingerprint="device")
        store.save_evaluation("device", ONE, device.evaluate(ONE, lambda _: None))

        def measure_again(other: Store, worker: int) -> None:
            runs = itertools.count(1)
            device = RefinableFake(
                fingerprint="device", factor=lambda *_: 1 + worker + next(runs) / 100
            )
            for _ in range(8):
                earlier = other.load_evaluation("device", ONE)
                assert earlier is not None
                refined = refine_cached(device, ONE, earlier, other, lambda _: None)
                stored = other.load_evaluation("device", ONE)
                assert stored is not None
                # The other process may have measured it again since.
                count = len(refined.measurements)
                assert stored.measurements[:count] == refined.measurements

        at_once(url, measure_again)
        found = store.load_evaluation("device", ONE)
        assert found is not None
        factors = [1.0, *(1 + worker + n / 100 for worker in range(2) for n in range(1, 9))]
        expected = [factor * decode_ms(ONE) for factor in factors]
        times = [each.samples_ns[0] / 1e6 for each in found.measurements]
        assert sorted(times) == pytest.approx(sorted(expected), rel=1e-5)
        (score,) = found.scores
        assert score.value == pytest.approx(statistics.median(expected), rel=1e-5)
        assert found.seconds == pytest.approx(2.0 * len(expected))

    def test_an_evaluation_that_was_never_stored_is_joined_with_the_stored_one(
        self, store: Store
    ) -> None:
        """Two processes evaluate an architecture at the same time, and one of them saves it first.

        The other one measures again what it has measured itself.
        """
        first, second = (
            RefinableFake(fingerprint="device", factor=lambda *_, factor=factor: factor)
            for factor in (1.0, 3.0)
        )
        own = second.evaluate(ONE, lambda _: None)
        store.save_evaluation("device", ONE, first.evaluate(ONE, lambda _: None))
        store.save_evaluation("device", ONE, own)
        refined = refine_cached(second, ONE, own, store, lambda _: None)
        times = [each.samples_ns[0] / 1e6 / decode_ms(ONE) for each in refined.measurements]
        assert times == pytest.approx([1.0, 3.0, 3.0], rel=1e-5)
        assert replace(refined, remarks=()) == store.load_evaluation("device", ONE)
