"""Which evaluators a confirmation has, and how they work together on a simulated device."""

from pathlib import Path

import pytest

from evaluators.text.corpus import Corpus, read_corpus
from nas.assembly import remeasuring_evaluators
from search_space.architecture import Architecture
from studies.confirmation.confirmation_run import ConfirmationJob, run_confirmation_jobs
from studies.records import Trial
from studies.spec.study_file import read_spec
from studies.spec.study_spec import Objective, StudySpec, to_json
from studies.storage.store import Store
from tests.nas.tiny_study import write_study
from tests.search_space.strategies import CORNERS


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudySpec:
    monkeypatch.chdir(tmp_path)
    return read_spec(write_study(tmp_path))


@pytest.fixture
def corpus(spec: StudySpec) -> Corpus:
    return read_corpus(spec.proxy.corpus)


def with_objectives(spec: StudySpec, *names: str) -> StudySpec:
    return spec.model_copy(update={"objectives": tuple(Objective(name=name) for name in names)})


def begun(store: Store, spec: StudySpec, architecture: Architecture) -> Trial:
    store.add_study(spec.name, to_json(spec))
    trial = store.claim(spec.name, total=1)
    assert trial is not None
    return store.begin(trial, architecture)


@pytest.mark.parametrize(
    ("objectives", "stages"),
    [
        (("loss", "decode"), ["latency"]),
        (("loss", "memory"), ["latency"]),
        (("loss", "decode_per_byte"), ["latency", "text"]),
        (("loss", "decode", "prefill_per_byte"), ["latency", "text"]),
        (("loss", "parameters"), []),
    ],
)
def test_latencies_are_measured_again_before_times_per_byte(
    spec: StudySpec,
    corpus: Corpus,
    tmp_path: Path,
    objectives: tuple[str, ...],
    stages: list[str],
) -> None:
    asked = with_objectives(spec, *objectives)
    with (
        Store.open(f"sqlite:///{tmp_path}/nas.db") as store,
        remeasuring_evaluators(asked, store, corpus) as evaluators,
    ):
        assert [each.stage for each in evaluators] == stages


def test_times_per_byte_are_computed_from_the_repeated_latency(
    spec: StudySpec, corpus: Corpus, tmp_path: Path
) -> None:
    """One run cannot be precise to 0.9 %, as runs differ by 0.6 % (standard deviation)."""
    precise = spec.device.model_copy(update={"precision": 0.009, "seconds": 0.5})
    asked = with_objectives(spec, "loss", "decode_per_byte").model_copy(update={"device": precise})
    architecture = CORNERS["one layer"]
    with (
        Store.open(f"sqlite:///{tmp_path}/nas.db") as store,
        remeasuring_evaluators(asked, store, corpus) as evaluators,
    ):
        trial = begun(store, asked, architecture)
        needed = frozenset({"decode", "decode_per_byte"})
        jobs = [ConfirmationJob(trial=trial, evaluator=each, needed=needed) for each in evaluators]
        run_confirmation_jobs(jobs, store, lambda event: None)
        latency, per_byte = (
            store.load_evaluation(each.fingerprint, architecture) for each in evaluators
        )
        assert store.runs(trial, evaluators[0].fingerprint) in (2, 3)
    assert latency is not None
    assert per_byte is not None
    decode = next(score for score in latency.scores if score.name == "decode")
    score = per_byte.scores[0]
    assert score.high / score.low == pytest.approx(decode.high / decode.low)
    assert score.measured.ratio / decode.measured.ratio == pytest.approx(score.value / decode.value)
