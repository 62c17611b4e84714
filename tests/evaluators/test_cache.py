"""Cached evaluations: what is stored and returned, and what is evaluated again."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from evaluators.cache import Cached, Remeasured, refine_cached
from evaluators.evaluator import (
    CurvePoint,
    Evaluation,
    EvaluationFailed,
    Evaluator,
    Progress,
    Report,
    Score,
)
from evaluators.speed.latency import LatencyEvaluator
from hardware.fake import FakeRunner
from search_space.architecture import Architecture, architecture_hash
from search_space.preset_models import preset
from studies.storage.store import Store
from tests.evaluators.conformance import RefinableConformance
from tests.evaluators.speed.timing import REFERENCE, evaluator_of
from tests.studies.storage.timed_trials import replace_stored

_ONE, _OTHER = preset("smollm2-135m"), preset("lfm2-350m")


@dataclass(kw_only=True)
class _Slow:
    """An evaluator that records its calls and returns a given value or failure."""

    value: float = 1.5
    failure: EvaluationFailed | None = None
    fingerprint: str = "slow 1"
    stage: str = "slow"
    score_names: tuple[str, ...] = ("decode",)
    calls: list[str] = field(default_factory=list)

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        self.calls.append(architecture_hash(architecture))
        report(Progress(done=0.5, text="half"))
        if self.failure is not None:
            raise self.failure
        score = Score(name="decode", value=self.value, unit="ms")
        return Evaluation(scores=(score,), seconds=12.0, curve=(CurvePoint(tokens=1, loss=2.0),))


@pytest.fixture
def cache(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/study.db") as store:
        yield store


def _ignore(progress: Progress) -> None:
    pass


def test_a_cached_evaluation_equals_the_first_one_and_evaluates_nothing(cache: Store) -> None:
    slow = _Slow()
    evaluator: Evaluator = Cached(evaluator=slow, cache=cache)
    fresh = evaluator.evaluate(_ONE, _ignore)
    reports: list[Progress] = []
    assert evaluator.evaluate(_ONE, reports.append) == fresh
    assert len(slow.calls) == 1
    assert reports == []


def test_a_replaced_evaluation_is_the_one_that_is_found(cache: Store) -> None:
    slow = _Slow()
    evaluator = Cached(evaluator=slow, cache=cache)
    for architecture in (_ONE, _OTHER):
        evaluator.evaluate(architecture, _ignore)
    score = Score(name="decode", value=1.25, unit="ms", low=1.0, high=1.5)
    refined = Evaluation(scores=(score,), seconds=24.0, curve=(CurvePoint(tokens=1, loss=2.0),))
    replace_stored(cache, slow.fingerprint, _ONE, refined)
    assert evaluator.evaluate(_ONE, _ignore) == refined
    assert evaluator.evaluate(_OTHER, _ignore).scores[0].value == 1.5
    assert len(slow.calls) == 2


def test_each_architecture_and_each_fingerprint_has_its_own_entry(cache: Store) -> None:
    slow = _Slow()
    for architecture in (_ONE, _OTHER, _ONE):
        Cached(evaluator=slow, cache=cache).evaluate(architecture, _ignore)
    assert slow.calls == [architecture_hash(_ONE), architecture_hash(_OTHER)]
    later = _Slow(fingerprint="slow 2", value=3.0)
    found = Cached(evaluator=later, cache=cache).evaluate(_ONE, _ignore)
    assert found.scores[0].value == 3.0


def test_stage_fingerprint_and_score_names_are_the_evaluators(cache: Store) -> None:
    slow = _Slow()
    cached = Cached(evaluator=slow, cache=cache)
    assert (cached.stage, cached.fingerprint) == (slow.stage, slow.fingerprint)
    assert cached.score_names == slow.score_names


def test_a_failure_is_not_cached(cache: Store) -> None:
    slow = _Slow(failure=EvaluationFailed("device lost", "no cable"))
    evaluator = Cached(evaluator=slow, cache=cache)
    for _ in range(2):
        with pytest.raises(EvaluationFailed, match="no cable"):
            evaluator.evaluate(_ONE, _ignore)
    slow.failure = None
    assert evaluator.evaluate(_ONE, _ignore).scores[0].value == 1.5
    assert len(slow.calls) == 3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_a_failure(cache: Store, value: float) -> None:
    evaluator = Cached(evaluator=_Slow(value=value), cache=cache)
    with pytest.raises(EvaluationFailed) as caught:
        evaluator.evaluate(_ONE, _ignore)
    assert caught.value.kind == "diverged"
    assert cache.load_evaluation(evaluator.fingerprint, _ONE) is None


def test_an_exception_in_a_report_propagates_and_nothing_is_stored(cache: Store) -> None:
    class Stopped(Exception):
        pass

    def stop(progress: Progress) -> None:
        raise Stopped

    evaluator = Cached(evaluator=_Slow(), cache=cache)
    with pytest.raises(Stopped):
        evaluator.evaluate(_ONE, stop)
    assert cache.load_evaluation(evaluator.fingerprint, _ONE) is None


class TestRefineCached:
    """A measurement of a model on a device, refined by one or two processes."""

    @pytest.fixture
    def evaluator(self, cache: Store) -> Iterator[LatencyEvaluator]:
        with evaluator_of(FakeRunner(), calibrations=cache) as latency:
            yield latency

    def test_the_refined_evaluation_is_stored_and_returned(
        self, cache: Store, evaluator: LatencyEvaluator
    ) -> None:
        earlier = Cached(evaluator=evaluator, cache=cache).evaluate(REFERENCE, _ignore)
        refined = refine_cached(evaluator, REFERENCE, earlier, cache, _ignore)
        assert len(refined.measurements) == 2 * len(earlier.measurements)
        assert cache.load_evaluation(evaluator.fingerprint, REFERENCE) == refined

    def test_a_failure_leaves_the_stored_evaluation(
        self, cache: Store, evaluator: LatencyEvaluator
    ) -> None:
        earlier = Cached(evaluator=evaluator, cache=cache).evaluate(REFERENCE, _ignore)

        def fail(progress: Progress) -> None:
            raise EvaluationFailed("device lost", "no cable")

        with pytest.raises(EvaluationFailed, match="no cable"):
            refine_cached(evaluator, REFERENCE, earlier, cache, fail)
        assert cache.load_evaluation(evaluator.fingerprint, REFERENCE) == earlier

    def test_what_another_process_measures_in_the_meantime_is_kept(
        self, cache: Store, evaluator: LatencyEvaluator, tmp_path: Path
    ) -> None:
        earlier = Cached(evaluator=evaluator, cache=cache).evaluate(REFERENCE, _ignore)
        others: list[Evaluation] = []

        def measure_elsewhere(progress: Progress) -> None:
            if not others:
                with (
                    Store.open(f"sqlite:///{tmp_path}/study.db") as store,
                    evaluator_of(FakeRunner(), calibrations=store) as other,
                ):
                    others.append(refine_cached(other, REFERENCE, earlier, store, _ignore))

        refined = refine_cached(evaluator, REFERENCE, earlier, cache, measure_elsewhere)
        count = len(earlier.measurements)
        (other,) = others
        assert refined.measurements[: 2 * count] == other.measurements
        own = refined.measurements[2 * count :]
        assert [each.workload for each in own] == [each.workload for each in earlier.measurements]
        assert cache.load_evaluation(evaluator.fingerprint, REFERENCE) == refined


class TestRemeasured(RefinableConformance):
    @pytest.fixture
    def evaluator(self):
        with evaluator_of(FakeRunner()) as latency:
            yield Remeasured(evaluator=latency)
