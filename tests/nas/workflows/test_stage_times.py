"""The time of each stage of a study, estimated from a few training steps."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest

import hardware.quiet
from evaluators.text.corpus import read_corpus
from nas.workflows.space_samples import SpaceSample
from nas.workflows.stage_times import StageTimes, time_stages
from search_space.architecture import Architecture
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec
from tests.nas.tiny_study import write_study
from tests.search_space.strategies import ATTENTION, CONV, stack


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudySpec:
    """A study on a machine on which every look at a clock is a second or a minute later.

    The time of the thread advances by a second, that of the wall by a minute.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hardware.quiet, "_machine_folder", lambda: tmp_path)
    seconds, minutes = itertools.count(), itertools.count(step=60)
    clocks = SimpleNamespace(
        thread_time=lambda: float(next(seconds)), perf_counter=lambda: float(next(minutes))
    )
    monkeypatch.setattr("nas.workflows.stage_times.time", clocks)
    return read_spec(write_study(tmp_path))


def sample(architecture: Architecture, failure: str | None = None) -> SpaceSample:
    return SpaceSample(
        size="median",
        architecture=architecture,
        scores=(),
        seconds=7.0 if failure is None else None,
        failure=failure,
    )


def stage_times(spec: StudySpec, failure: str | None = None) -> StageTimes:
    corpus = read_corpus(spec.proxy.corpus)
    return time_stages(spec, sample(stack(CONV, ATTENTION), failure), corpus, lambda text: None)


def test_waiting_does_not_count_where_one_thread_computes(spec: StudySpec) -> None:
    """The budget is 20 steps of 64 tokens."""
    times = stage_times(spec)
    assert (times.latency_seconds, times.training_seconds) == (7.0, 20.0)
    assert times.failure is None


def test_wall_time_counts_where_several_threads_compute(spec: StudySpec) -> None:
    proxy = spec.proxy.model_copy(update={"threads": 2})
    times = stage_times(spec.model_copy(update={"proxy": proxy}))
    assert times.training_seconds == 20 * 60.0


def test_a_model_that_cannot_be_measured_is_not_trained(spec: StudySpec) -> None:
    times = stage_times(spec, failure="out of memory: 9 GB")
    assert (times.latency_seconds, times.training_seconds) == (None, None)
    assert times.failure == "out of memory: 9 GB"
