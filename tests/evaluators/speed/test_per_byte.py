"""Latency per byte of text."""

from dataclasses import replace

import pytest

from evaluators.calibration import CalibrationKey
from evaluators.evaluator import CalibratedRatio, Evaluation, EvaluationFailed, Score
from evaluators.speed.per_byte import PerByteEvaluator, is_text_stage
from evaluators.text.corpus import Corpus, read_corpus
from tests.evaluators.conformance import RefinableConformance
from tests.search_space.strategies import CONV, stack

DECODE = CalibrationKey(device="int4 fake", reference="a1b2", workload="tg64")
LATENCY = Evaluation(
    scores=(
        Score(
            name="decode",
            value=2.0,
            unit="ms/token",
            low=1.5,
            high=3.0,
            provisional=True,
            measured=CalibratedRatio(calibration=DECODE, ratio=0.5, low=0.375, high=None),
        ),
        Score(name="prefill", value=100.0, unit="ms"),
        Score(name="memory", value=7.0, unit="MB"),
    ),
    seconds=5.0,
)


class Latency:
    """An evaluator with the same result for every architecture."""

    stage = "latency"
    fingerprint = "latency 1"
    score_names = ("decode", "prefill", "memory")
    result = LATENCY

    def evaluate(self, architecture, report):
        return self.result


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Text with few different words, so that small vocabularies already have whole words."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return read(tmp_path / "text.txt", "tells")


def read(path, verb: str) -> Corpus:
    lines = (f"Sentence {n} {verb} of {n * n} things and {n % 7} more.\n" for n in range(2_000))
    path.write_text("".join(lines))
    return read_corpus(str(path))


def found(corpus, vocab_size: int) -> dict[str, Score]:
    evaluator = PerByteEvaluator(Latency(), corpus, prompt_length=50)
    evaluation = evaluator.evaluate(stack(CONV, vocab_size=vocab_size), lambda _: None)
    return {score.name: score for score in evaluation.scores}


class TestPerByte(RefinableConformance):
    @pytest.fixture
    def evaluator(self, corpus):
        return PerByteEvaluator(Latency(), corpus, prompt_length=50)


class _OnPhone(Latency):
    """The same latency on the device `phone`."""

    stage = "latency@phone"
    fingerprint = "latency 1 on phone"
    result = replace(
        LATENCY, scores=tuple(replace(each, name=f"{each.name}@phone") for each in LATENCY.scores)
    )


class TestPerByteOnADevice(RefinableConformance):
    @pytest.fixture
    def evaluator(self, corpus):
        return PerByteEvaluator(_OnPhone(), corpus, 50, "phone")


def test_on_a_device_the_values_are_the_same_under_other_names(corpus):
    evaluator = PerByteEvaluator(_OnPhone(), corpus, 50, "phone")
    assert evaluator.stage == "text@phone"
    evaluation = evaluator.evaluate(stack(CONV, vocab_size=300), lambda _: None)
    here = found(corpus, 300)
    assert {score.name: score for score in evaluation.scores} == {
        f"{name}@phone": replace(score, name=f"{name}@phone") for name, score in here.items()
    }
    assert evaluator.fingerprint != PerByteEvaluator(Latency(), corpus, 50).fingerprint


@pytest.mark.parametrize("stage", ["text", "text@phone"])
def test_the_stage_is_recognised(stage):
    assert is_text_stage(stage)
    assert not is_text_stage(stage.replace("text", "latency"))


@pytest.mark.parametrize("vocab_size", [64, 256])
def test_a_token_of_the_smallest_vocabulary_is_one_byte(corpus, vocab_size):
    scores = found(corpus, vocab_size)
    decode = scores["decode_per_byte"]
    assert (decode.low, decode.value, decode.high) == (1_500.0, 2_000.0, 3_000.0)
    assert scores["prefill_per_byte"].value == 2_000.0
    assert scores["prefill_per_byte"].low is None
    assert {score.unit for score in scores.values()} == {"us/byte"}


def test_the_measured_ratio_is_that_of_the_latency_in_the_same_unit(corpus):
    """Each token is one byte, and there are a thousand microseconds in a millisecond."""
    scores = found(corpus, 256)
    assert scores["decode_per_byte"].measured == CalibratedRatio(
        calibration=DECODE, ratio=500.0, low=375.0, high=None
    )
    assert scores["decode_per_byte"].provisional
    assert scores["prefill_per_byte"].measured is None
    assert not scores["prefill_per_byte"].provisional


def test_refining_reads_the_refined_latency(corpus):
    latency = Latency()
    evaluator = PerByteEvaluator(latency, corpus, prompt_length=50)
    architecture = stack(CONV, vocab_size=256)
    first = evaluator.evaluate(architecture, lambda _: None)
    decode, *others = LATENCY.scores
    latency.result = replace(
        LATENCY, scores=(replace(decode, value=2.5, provisional=False), *others)
    )
    second = evaluator.refine(architecture, first, lambda _: None)
    assert second.scores[0].value == 2_500.0
    assert not second.scores[0].provisional


def test_a_larger_vocabulary_takes_less_per_byte_until_the_text_is_exhausted(corpus):
    times = [found(corpus, size)["decode_per_byte"].value for size in (300, 1_000, 65_536, 262_144)]
    assert 2_000 > times[0] > times[1] > times[2] == times[3]


def test_the_fingerprint_depends_on_the_text_and_the_latency(corpus, tmp_path):
    other = read(tmp_path / "other.txt", "speaks")
    latency = Latency()
    latency.fingerprint = "latency 2"
    evaluators = [
        PerByteEvaluator(Latency(), corpus, 50),
        PerByteEvaluator(Latency(), other, 50),
        PerByteEvaluator(latency, corpus, 50),
    ]
    assert len({evaluator.fingerprint for evaluator in evaluators}) == 3


def test_a_failure_of_the_latency_evaluator_propagates(corpus):
    class Failing(Latency):
        def evaluate(self, architecture, report):
            raise EvaluationFailed("device lost", "no cable")

    with pytest.raises(EvaluationFailed, match="no cable"):
        PerByteEvaluator(Failing(), corpus, 50).evaluate(stack(CONV), lambda _: None)
