"""Which evaluators a confirmation has, and how they work together on a simulated device."""

from pathlib import Path

import pytest

from evaluators.text.corpus import Corpus, read_corpus
from hardware.machine_lock import LockWait
from nas.assembly import (
    evaluators_of,
    proxy_training,
    recall_settings,
    remeasuring_evaluators,
    retraining_evaluator,
    study_corpus,
)
from nas.training_slots import crowding_remark, parallel_trainings
from search_space.architecture import Architecture
from studies.confirmation.confirmation_run import ConfirmationJob, run_confirmation_jobs
from studies.records import Trial
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec, to_json
from studies.spec.study_tables import Objective
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


@pytest.mark.parametrize(
    ("table", "change", "sentence"),
    [
        ("device", {"runner": "local", "threads": 1024}, "device.threads: 1024 is not between 1"),
        (
            "device",
            {"runner": "llama.cpp", "llama_bench": "/no/program"},
            "device.llama_bench: '/no/program' is not an installed program",
        ),
        ("proxy", {"device": "cuda"}, "proxy.device: 'cuda' is not available to torch"),
        ("proxy", {"device": "cuda", "method": "shared"}, "proxy.device: 'cuda' is not available"),
    ],
)
def test_what_this_machine_lacks_is_named_as_in_the_study_file(
    spec: StudySpec,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    change: dict[str, object],
    sentence: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    settings = getattr(spec, table).model_copy(update=change)
    asked = spec.model_copy(update={table: settings})
    with (
        Store.open(f"sqlite:///{tmp_path}/nas.db") as store,
        pytest.raises(ValueError, match=f"^{sentence}"),
        evaluators_of(asked, store, corpus),
    ):
        pass


def test_a_retraining_names_the_table_too(
    spec: StudySpec, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    proxy = spec.proxy.model_copy(update={"device": "cuda"})
    with pytest.raises(ValueError, match=r"^proxy\.device: 'cuda' is not available"):
        retraining_evaluator(spec.model_copy(update={"proxy": proxy}), corpus, 1, 1280)


def test_a_corpus_that_is_too_small_is_named_as_in_the_study_file(
    spec: StudySpec, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("short")
    with pytest.raises(ValueError, match=r"^proxy\.corpus: 'text\.txt' has 5 characters"):
        study_corpus(spec, lambda text: None)


@pytest.mark.parametrize(("longest_wait", "seconds"), [(None, 646.0), (5.0, 5.0), (0.0, 0.0)])
def test_measurements_and_trainings_wait_for_each_other_as_the_study_file_says(
    tmp_path: Path, longest_wait: float | None, seconds: float
) -> None:
    spec = read_spec(write_study(tmp_path))
    changed = {"seconds": 23.0, "longest_wait": longest_wait, "if_occupied": "stop"}
    spec = spec.model_copy(update={"device": spec.device.model_copy(update=changed)})
    assert spec.device.lock_wait == LockWait(longest_wait=seconds, if_occupied="stop")
    assert proxy_training(spec, 0).training.longest_pause == seconds
    assert recall_settings(spec).training.longest_pause == seconds


@pytest.mark.parametrize(
    ("settings", "cores", "gigabytes", "expected"),
    [
        ({}, 8, 64, 8),
        ({"threads": 2}, 8, 64, 4),
        ({"threads": 16}, 8, 64, 1),
        ({}, 8, 3.5, 3),
        ({}, 8, 0.2, 1),
        ({"parallel": 5}, 2, 1, 5),
    ],
)
def test_as_many_candidates_are_trained_at_a_time_as_cores_and_memory_allow(
    spec: StudySpec,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, int],
    cores: int,
    gigabytes: float,
    expected: int,
) -> None:
    monkeypatch.setattr("nas.training_slots.available_cores", lambda: cores)
    monkeypatch.setattr("nas.training_slots.available_memory_bytes", lambda: int(1e9 * gigabytes))
    proxy = spec.proxy.model_copy(update=settings)
    assert parallel_trainings(spec.model_copy(update={"proxy": proxy})) == expected


@pytest.mark.parametrize(
    ("settings", "cores", "gigabytes", "remark"),
    [
        ({}, 2, 0.5, None),
        ({"parallel": 2}, 2, 2.5, None),
        ({"parallel": 1}, 1, 0.5, None),
        ({"parallel": 1, "threads": 4}, 2, 9, None),
        ({"parallel": 9, "device": "cuda"}, 2, 0.5, None),
        (
            {"parallel": 3},
            2,
            9,
            "3 trainings with 1 thread each compete for the 2 cores of this machine",
        ),
        (
            {"parallel": 2, "threads": 4},
            7,
            9,
            "2 trainings with 4 threads each compete for the 7 cores of this machine",
        ),
        ({"parallel": 2, "threads": 4}, 8, 9, None),
        (
            {"parallel": 8},
            8,
            3.5,
            "8 trainings may need more memory than is free, which suffices for about 3",
        ),
        (
            {"parallel": 999},
            1,
            12.5,
            "999 trainings with 1 thread each compete for the only core of this machine and may "
            "need more memory than is free, which suffices for about 12",
        ),
    ],
)
def test_more_trainings_than_this_machine_supports_are_remarked(
    spec: StudySpec,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
    cores: int,
    gigabytes: float,
    remark: str | None,
) -> None:
    monkeypatch.setattr("nas.training_slots.available_cores", lambda: cores)
    monkeypatch.setattr("nas.training_slots.available_memory_bytes", lambda: int(1e9 * gigabytes))
    proxy = spec.proxy.model_copy(update=settings)
    found = crowding_remark(spec.model_copy(update={"proxy": proxy}))
    assert found == (None if remark is None else f"proxy.parallel: {remark}")
