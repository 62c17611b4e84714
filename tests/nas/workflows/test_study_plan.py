"""The plan of a study: its duration, the corpus that it reads, and what a runtime can express."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.speed.device_file import parse_devices
from evaluators.text.corpus import read_corpus
from nas.inputs.device_argument import NamedDevice
from nas.views.plan_view import corpus_usage_text
from nas.workflows.space_samples import RefusedShares
from nas.workflows.study_plan import CorpusUsage, corpus_usage, inexpressible_mixers
from search_space.preset_models import PRESETS
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import DeviceSettings, Objective, Target
from tests.nas.example_plan import example_plan


def test_the_time_includes_every_candidate_and_reference() -> None:
    alike = replace(example_plan(), drawn=PRESETS["lfm2-350m"])  # the same as the reference model
    assert alike.seconds == pytest.approx(11 * 60)


def test_a_larger_reference_takes_longer_to_train() -> None:
    small = replace(example_plan(), drawn=PRESETS["smollm2-135m"])
    assert small.seconds is not None
    assert small.seconds > 11 * 60


def test_refused_candidates_are_not_trained_and_some_are_not_timed() -> None:
    """Each of the ten candidates takes 10 s of timing and 50 s of training, as does the reference.

    The text is prepared for each of the three vocabularies.
    """
    alike = replace(example_plan(), drawn=PRESETS["lfm2-350m"])
    refusing = replace(alike, refused=RefusedShares(untimed=0.2, untrained=0.6))
    assert refusing.seconds == pytest.approx((8 + 1) * 10 + (4 + 1) * 50)
    assert len(alike.spec.space.vocab_size) == 3
    unprepared = replace(alike, times=replace(alike.times, preparation_seconds=4.0))
    assert unprepared.seconds == pytest.approx(11 * 60 + 3 * 4)


def test_named_devices_measure_at_the_same_time() -> None:
    """Ten candidates and a reference model of their size take 10 + 50 s each on this machine."""
    alike = replace(example_plan(), drawn=PRESETS["lfm2-350m"])

    def seconds(**device_seconds: float) -> float | None:
        times = replace(alike.times, device_seconds=device_seconds, preparation_seconds=1.0)
        return replace(alike, times=times).seconds

    assert seconds() == pytest.approx(11 * 60 + 3)
    assert seconds(phone=59.0, pi5=20.0) == pytest.approx(11 * 60 + 3)
    assert seconds(phone=90.0, pi5=20.0) == pytest.approx(11 * 90 + 3)


def test_mixers_that_llama_cpp_lacks_are_found() -> None:
    spec = read_spec("edge-350m").model_copy(update={"device": DeviceSettings(runner="llama.cpp")})
    assert set(inexpressible_mixers(spec)) == {"l", "-"}
    assert inexpressible_mixers(read_spec("edge-350m")) == {}


def test_every_device_must_express_the_mixers() -> None:
    def named(name: str, runtime: str) -> NamedDevice:
        text = f'[{name}]\nchannel = "local"\nruntime = "{runtime}"'
        return NamedDevice(name=name, definition=parse_devices(text, "devices.toml")[name])

    spec = read_spec("edge-350m").model_copy(
        update={
            "target": Target(devices=("phone", "pi5")),
            "objectives": (Objective(name="loss"), Objective(name="decode@phone")),
            "constraints": (),
            "device": DeviceSettings(runner="llama.cpp"),  # this machine is not measured
        }
    )
    onnx, gguf = named("phone", "onnxruntime"), named("pi5", "llama.cpp")
    assert inexpressible_mixers(spec, [onnx]) == {}
    assert set(inexpressible_mixers(spec, [onnx, gguf])) == {"l", "-"}


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudySpec:
    """A study whose corpus consists of 30 documents of a few thousand bytes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = random.Random(0)
    texts = [" ".join(str(words.randrange(10**6)) for _ in range(500)) for _ in range(30)]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text)
    spec = read_spec("quickstart")
    proxy = spec.proxy.model_copy(update={"corpus": f"{tmp_path}/*.txt", "token_budget": 100_000})
    return spec.model_copy(update={"proxy": proxy})


def test_the_sizes_of_both_parts_and_of_the_budget(spec: StudySpec) -> None:
    found = _usage(spec)
    whole = sum(path.stat().st_size for path in Path(str(spec.proxy.corpus)).parent.glob("*.txt"))
    assert found.training_bytes + found.held_out_bytes == whole
    # A token consists of two or three digits.
    assert 150_000 < found.read_bytes < 350_000
    assert found.note is None
    times = found.read_bytes / found.training_bytes
    assert f"reads it {times:.3g} times" in corpus_usage_text(found)


def test_a_task_reduces_the_tokens_that_are_read_from_the_corpus(spec: StudySpec) -> None:
    proxy = spec.proxy.model_copy(update={"task": "tasks.jsonl", "task_share": 0.25})
    whole = _usage(spec).read_bytes
    rest = _usage(spec.model_copy(update={"proxy": proxy})).read_bytes
    assert rest == pytest.approx(0.75 * whole)


def _usage(spec: StudySpec) -> CorpusUsage:
    corpus = read_corpus(spec.proxy.corpus)
    return corpus_usage(spec, PRESETS["hybrid-20m"], corpus, lambda text: None)
