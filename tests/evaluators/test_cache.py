"""What is remembered, and what is asked again."""

import math
from dataclasses import dataclass, field

import pytest

from evaluators.cache import Cached
from evaluators.evaluator import (
    CurvePoint,
    Evaluation,
    EvaluationFailed,
    Evaluator,
    Progress,
    Report,
    Score,
)
from search_space.architecture import Architecture, architecture_hash
from search_space.preset_models import preset
from studies.storage.store import Store

_ONE, _OTHER = preset("smollm2-135m"), preset("lfm2-350m")


@dataclass(kw_only=True)
class _Slow:
    """An evaluator that counts how often it works, and answers as it is told."""

    value: float = 1.5
    failure: EvaluationFailed | None = None
    fingerprint: str = "slow 1"
    stage: str = "slow"
    score_names: tuple[str, ...] = ("decode",)
    asked: list[str] = field(default_factory=list)

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        self.asked.append(architecture_hash(architecture))
        report(Progress(done=0.5, text="half"))
        if self.failure is not None:
            raise self.failure
        score = Score(name="decode", value=self.value, unit="ms")
        return Evaluation(scores=(score,), seconds=12.0, curve=(CurvePoint(tokens=1, loss=2.0),))


@pytest.fixture
def memory(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/study.db") as store:
        yield store


def _ignore(progress: Progress) -> None:
    pass


def test_a_remembered_evaluation_equals_the_fresh_one_and_costs_nothing(memory: Store) -> None:
    slow = _Slow()
    evaluator: Evaluator = Cached(evaluator=slow, memory=memory)
    fresh = evaluator.evaluate(_ONE, _ignore)
    reports: list[Progress] = []
    assert evaluator.evaluate(_ONE, reports.append) == fresh
    assert len(slow.asked) == 1
    assert reports == []


def test_each_architecture_and_each_fingerprint_is_asked_for_itself(memory: Store) -> None:
    slow = _Slow()
    for architecture in (_ONE, _OTHER, _ONE):
        Cached(evaluator=slow, memory=memory).evaluate(architecture, _ignore)
    assert slow.asked == [architecture_hash(_ONE), architecture_hash(_OTHER)]
    later = _Slow(fingerprint="slow 2", value=3.0)
    found = Cached(evaluator=later, memory=memory).evaluate(_ONE, _ignore)
    assert found.scores[0].value == 3.0


def test_it_is_the_evaluator_in_everything_else(memory: Store) -> None:
    slow = _Slow()
    remembered = Cached(evaluator=slow, memory=memory)
    assert (remembered.stage, remembered.fingerprint) == (slow.stage, slow.fingerprint)
    assert remembered.score_names == slow.score_names


def test_a_failure_is_not_remembered(memory: Store) -> None:
    slow = _Slow(failure=EvaluationFailed("device lost", "no cable"))
    evaluator = Cached(evaluator=slow, memory=memory)
    for _ in range(2):
        with pytest.raises(EvaluationFailed, match="no cable"):
            evaluator.evaluate(_ONE, _ignore)
    slow.failure = None
    assert evaluator.evaluate(_ONE, _ignore).scores[0].value == 1.5
    assert len(slow.asked) == 3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_finite_number_is_a_failure(memory: Store, value: float) -> None:
    evaluator = Cached(evaluator=_Slow(value=value), memory=memory)
    with pytest.raises(EvaluationFailed) as caught:
        evaluator.evaluate(_ONE, _ignore)
    assert caught.value.kind == "diverged"
    assert memory.load_evaluation(evaluator.fingerprint, _ONE) is None


def test_what_a_report_raises_passes_and_leaves_nothing(memory: Store) -> None:
    class Enough(Exception):
        pass

    def stop(progress: Progress) -> None:
        raise Enough

    evaluator = Cached(evaluator=_Slow(), memory=memory)
    with pytest.raises(Enough):
        evaluator.evaluate(_ONE, stop)
    assert memory.load_evaluation(evaluator.fingerprint, _ONE) is None
