"""Tests that a job runs once, by one process at a time, whatever interrupts it."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.cache import Remeasured
from evaluators.evaluator import EvaluationFailed
from search_space.architecture import Architecture
from studies import owner as owners
from studies.confirmation.confirmation_run import (
    ConfirmationJob,
    JobEnded,
    JobEvent,
    JobStarted,
    run_confirmation_jobs,
)
from studies.records import ConfirmationRun
from studies.search.loop import run_study
from studies.storage.schema import REPEATS
from studies.storage.store import Store
from tests.studies.fakes import (
    FakeEvaluator,
    RefinableFake,
    all_stages,
    busy_at_first,
    decode_ms,
    small_spec,
    training,
)

_WORKER = """
import sys
from studies.confirmation.confirmation_run import run_confirmation_jobs
from studies.storage.store import Store
from tests.studies.confirmation.test_confirmation_run import jobs

with Store.open(sys.argv[1]) as store:
    run_confirmation_jobs(
        jobs(store, seconds=0.05), store, lambda event: print(event.job.seed, flush=True)
    )
"""


def retraining(seed: int, **changes: object) -> FakeEvaluator:
    evaluator = training()
    evaluator.fingerprint = f"again with seed {seed}"
    return replace(evaluator, **changes)


def jobs(
    store: Store, seeds: tuple[int, ...] = (1, 2, 3), **changes: object
) -> list[ConfirmationJob]:
    trials = store.trials("small")
    return [
        ConfirmationJob(trial=trial, evaluator=evaluator, seed=seed, token_budget=40_000)
        for seed in seeds
        for evaluator in [retraining(seed, **changes)]
        for trial in trials
    ]


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    with _begun(sqlite_url) as store:
        yield store


@pytest.fixture
def any_store(url: str) -> Iterator[Store]:
    """A store in each kind of database."""
    with _begun(url) as store:
        yield store


def _begun(url: str) -> Store:
    store = Store.open(url)
    run_study(small_spec(url, trials=3), evaluators=all_stages(), store=store)
    return store


def _done(store: Store) -> Counter[tuple[int, int | None]]:
    return Counter(
        (run.number, run.key.seed)
        for run in store.confirmation_runs("small")
        if run.ended_at is not None and run.scores
    )


def _asked(work: list[ConfirmationJob]) -> int:
    evaluators = {id(job.evaluator): job.evaluator for job in work}.values()
    return sum(len(each.asked) for each in evaluators if isinstance(each, FakeEvaluator))


def test_results_are_stored_and_jobs_run_once(any_store: Store) -> None:
    store = any_store
    events: list[JobEvent] = []
    work = jobs(store)
    run_confirmation_jobs(work, store, events.append)
    assert _asked(work) == 9
    assert sum(isinstance(event, JobStarted) for event in events) == 9
    ended = [event for event in events if isinstance(event, JobEnded)]
    runs = store.confirmation_runs("small")
    assert [run.scores for run in runs] == [event.scores for event in ended]
    assert all(run.curve[-1].loss == run.scores[0].value for run in runs)
    assert all(run.seconds is not None and run.key.token_budget == 40_000 for run in runs)
    repeated = jobs(store)
    run_confirmation_jobs(repeated, store, events.append)
    assert _asked(repeated) == 0
    more = jobs(store, seeds=(3, 4))
    run_confirmation_jobs(more, store, events.append)
    assert _asked(more) == 3
    assert set(_done(store).values()) == {1}
    assert len(_done(store)) == 12


def test_a_failure_is_a_result(store: Store) -> None:
    events: list[JobEvent] = []
    failing = jobs(store, seeds=(1,), failing=lambda architecture: True)
    run_confirmation_jobs(failing, store, events.append)
    assert {run.failure for run in store.confirmation_runs("small")} == {"diverged"}
    assert {run.reason for run in store.confirmation_runs("small")} == {"requested by the test"}
    reasons = {event.reason for event in events if isinstance(event, JobEnded)}
    assert reasons == {"diverged: requested by the test"}
    well = jobs(store, seeds=(1,))
    run_confirmation_jobs(well, store, events.append)
    assert _asked(well) == 0


def test_a_failure_of_the_device_is_retried(any_store: Store) -> None:
    store = any_store
    lost = jobs(store, seeds=(1,), failing=lambda architecture: True, failure="device lost")
    run_confirmation_jobs(lost, store, lambda event: None)
    assert not _done(store)
    run_confirmation_jobs(jobs(store, seeds=(1,)), store, lambda event: None)
    assert len(_done(store)) == 3
    assert {run.failure for run in store.confirmation_runs("small")} == {None}


def test_an_exception_leaves_the_remaining_jobs_for_later(store: Store) -> None:
    def stumble(event: JobEvent) -> None:
        if isinstance(event, JobStarted) and event.job.seed == 2:
            raise RuntimeError("from the listener")

    with pytest.raises(RuntimeError, match="from the listener"):
        run_confirmation_jobs(jobs(store), store, stumble)
    assert all(run.ended_at is not None for run in store.confirmation_runs("small"))
    assert len(_done(store)) == 3
    run_confirmation_jobs(jobs(store), store, lambda event: None)
    assert len(_done(store)) == 9


def test_a_job_of_a_living_process_is_skipped(
    any_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = any_store
    first = jobs(store)[0].key
    here = owners.this_process()
    with monkeypatch.context() as patch:
        elsewhere = replace(here, token="elsewhere", host="another", namespace="another")
        patch.setattr("studies.storage.signs_of_life.this_process", lambda: elsewhere)
        assert store.claim_confirmation(first)
    assert not store.claim_confirmation(first)
    store.end_confirmation(first, seconds=1.0)  # another process owns it: nothing changes
    store.release_confirmation(first)
    (run,) = store.confirmation_runs("small")
    assert (run.owner.host, run.ended_at) == ("another", None)
    now = time.monotonic()
    monkeypatch.setattr(store._database.signs_of_life, "_clock", lambda: now + 59)
    assert not store.claim_confirmation(first)
    monkeypatch.setattr(store._database.signs_of_life, "_clock", lambda: now + 61)
    assert store.claim_confirmation(first)
    (run,) = store.confirmation_runs("small")
    assert run.owner == here


def test_two_processes_share_the_work(store: Store, sqlite_url: str) -> None:
    with _start(sqlite_url) as one, _start(sqlite_url) as other:
        outputs = [worker.communicate(timeout=200)[0] for worker in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0)
    assert "1" in outputs[0] + outputs[1]
    assert set(_done(store).values()) == {1}
    assert len(_done(store)) == 9


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_process_loses_only_its_running_job(
    store: Store, sqlite_url: str, kind: signal.Signals
) -> None:
    with _start(sqlite_url) as worker:
        while not _done(store):
            assert worker.poll() in (None, 0)
            time.sleep(0.02)
        worker.send_signal(kind)
    before = _ended(store)
    work = jobs(store)
    run_confirmation_jobs(work, store, lambda event: None)
    assert _asked(work) == 9 - len(before)
    assert set(_done(store).values()) == {1}
    assert len(_done(store)) == 9
    assert _ended(store)[: len(before)] == before


def _start(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _WORKER, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def _ended(store: Store) -> list[ConfirmationRun]:
    return [run for run in store.confirmation_runs("small") if run.ended_at is not None]


def test_deleting_a_study_deletes_its_confirmation_runs(store: Store) -> None:
    run_confirmation_jobs(jobs(store, seeds=(1,)), store, lambda event: None)
    store.delete_study("small")
    with store._database.read() as connection:
        assert connection.execute(REPEATS.select()).all() == []


def remeasure(
    store: Store, latency: RefinableFake, needed: frozenset[str] = frozenset({"decode"})
) -> list[JobEnded]:
    """Run the remeasurement of one trial and return its end."""
    trial = store.trials("small")[0]
    job = ConfirmationJob(trial=trial, evaluator=Remeasured(evaluator=latency), needed=needed)
    events: list[JobEvent] = []
    run_confirmation_jobs([job], store, events.append)
    return [event for event in events if isinstance(event, JobEnded)]


def runs_of_remeasurement(store: Store) -> int:
    return store.runs(store.trials("small")[0], "again fake-latency")


def test_a_provisional_time_is_measured_again(store: Store) -> None:
    latency = busy_at_first(factor=1.5)
    (ended,) = remeasure(store, latency)
    (run,) = store.confirmation_runs("small")
    (score,) = run.scores
    trial = store.trials("small")[0]
    assert trial.model is not None
    expected = decode_ms(store.architecture(trial.model.hash))
    assert score.value == pytest.approx(expected, rel=1e-6)
    assert not score.provisional
    assert ended.scores == run.scores
    assert (len(latency.asked), len(latency.refined)) == (1, 1)


def test_a_time_that_remains_provisional_is_accepted_after_three_runs(store: Store) -> None:
    latency = RefinableFake(is_busy=lambda architecture, runs: True)
    (ended,) = remeasure(store, latency)
    assert runs_of_remeasurement(store) == 3
    assert ended.reason is None
    (run,) = store.confirmation_runs("small")
    assert run.ended_at is not None
    assert run.scores[0].provisional
    assert remeasure(store, latency) == []


def test_times_that_nobody_asks_for_are_measured_once(store: Store) -> None:
    latency = RefinableFake(is_busy=lambda architecture, runs: True)
    remeasure(store, latency, frozenset({"prefill"}))
    assert latency.refined == []


def test_a_repeat_that_fails_leaves_the_first_time(store: Store) -> None:
    def fail(architecture: Architecture) -> None:
        raise EvaluationFailed("device lost", "no cable")

    (ended,) = remeasure(store, replace(busy_at_first(), before_refining=fail))
    assert ended.reason is None
    assert ended.scores[0].provisional
    assert runs_of_remeasurement(store) == 1


def test_an_interrupted_repeat_is_resumed_without_measuring_from_scratch(store: Store) -> None:
    def interrupt(architecture: Architecture) -> None:
        raise KeyboardInterrupt

    stopped = replace(busy_at_first(), before_refining=interrupt)
    with pytest.raises(KeyboardInterrupt):
        remeasure(store, stopped)
    assert store.confirmation_runs("small") == ()
    resumed = busy_at_first()
    (ended,) = remeasure(store, resumed)
    assert not ended.scores[0].provisional
    assert (resumed.asked, len(resumed.refined)) == ([], 1)
    assert runs_of_remeasurement(store) == 2


def test_a_changed_time_of_the_reference_is_reported(store: Store) -> None:
    latency = replace(busy_at_first(), calibrations=store)

    def slow_down(architecture: Architecture) -> None:
        latency.reference_ms = 14.0

    latency.before_refining = slow_down
    (ended,) = remeasure(store, latency)
    (remark,) = ended.remarks
    assert "1 stored time was computed again" in remark
