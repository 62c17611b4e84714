"""A study that trains several candidates at the same time, with real processes."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluators.evaluator import Evaluator
from evaluators.jobs import Job, Message
from evaluators.trainers import Trainers
from search_space.architecture import Architecture, architecture_hash
from studies.records import EndState, Trial
from studies.search.events import (
    Event,
    Remark,
    StageProgress,
    StageStarted,
    TrialEnded,
    TrialLost,
)
from studies.search.loop import run_study
from studies.spec.reference_models import with_reference
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Objective, SamplerSettings
from studies.storage.store import Store
from tests.studies import fakes
from tests.studies.fakes import TrainingFake, run_with_fakes, unlucky

_ENDED: tuple[EndState, ...] = ("complete", "stopped")
_ROOT = Path(__file__).parents[3]
_WORKER = """
import sys
from evaluators.trainers import Trainers
from studies.search.loop import run_study
from studies.storage.store import Store
from tests.studies.fakes import TrainingFake, latency, small_spec, static

stages = static(), latency(), TrainingFake(seconds=0.4)
with Store.open(sys.argv[1]) as store, Trainers(3) as trainers:
    store.optuna_storage()
    print("ready", flush=True)
    spec = small_spec(sys.argv[1], trials=int(sys.argv[2]))
    run_study(spec, evaluators=stages, store=store, runner=trainers)
"""


@pytest.fixture(autouse=True)
def importable_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trainers import the jobs of the tests."""
    monkeypatch.setenv("PYTHONPATH", str(_ROOT))


@pytest.fixture(scope="module")
def trainers() -> Iterator[Trainers]:
    with pytest.MonkeyPatch.context() as patch, Trainers(3) as trainers:
        patch.setenv("PYTHONPATH", str(_ROOT))
        yield trainers


def _evaluators(training: TrainingFake) -> tuple[Evaluator, ...]:
    return fakes.static(), fakes.latency(), training


def _meet(architecture: Architecture) -> None:
    """Wait until three trainings have begun."""
    folder = Path(os.environ["MEETING_PLACE"])
    (folder / architecture_hash(architecture)).touch()
    deadline = time.monotonic() + 60.0
    while len(list(folder.iterdir())) < 3:
        assert time.monotonic() < deadline, "fewer than three trainings run at the same time"
        time.sleep(0.01)


def _ended(trial: Trial) -> tuple[object, ...]:
    assert trial.model is not None
    return trial.number, trial.model.hash, trial.state, trial.values


def test_the_candidates_and_their_results_are_those_of_one_at_a_time(
    spec: StudySpec, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec.model_copy(
        update={"trials": 8, "proxy": spec.proxy.model_copy(update={"rungs": ()})}
    )
    (tmp_path / "meeting").mkdir()
    monkeypatch.setenv("MEETING_PLACE", str(tmp_path / "meeting"))
    with Trainers(3) as trainers:
        training = TrainingFake(seconds=0.1, end=_meet)
        run_study(spec, evaluators=_evaluators(training), store=store, runner=trainers)
    with Store.open(f"sqlite:///{tmp_path}/one.db") as other:
        expected = run_with_fakes(spec, other)
    # A random sampler ignores the results, so that their order does not matter.
    assert list(map(_ended, store.trials(spec.name))) == list(map(_ended, expected))
    assert all(trial.curve for trial in store.trials(spec.name))


@pytest.mark.parametrize("kind", ["tpe", "known-costs"])
def test_samplers_that_learn_propose_while_others_are_in_training(
    spec: StudySpec, store: Store, trainers: Trainers, kind: str
) -> None:
    sampler = SamplerSettings.model_validate({"kind": kind, "startup_trials": 3})
    spec = spec.model_copy(update={"trials": 10, "sampler": sampler})
    run_study(
        spec,
        evaluators=_evaluators(TrainingFake(seconds=0.05)),
        store=store,
        runner=trainers,
    )
    trials = store.trials(spec.name)
    assert {trial.state for trial in trials} <= {"complete", "stopped"}
    hashes = [trial.model.hash for trial in trials if trial.model is not None]
    assert len(hashes) == 10
    if kind == "known-costs":
        assert len(set(hashes)) == 10


def test_a_rung_stops_a_training_while_the_others_continue(
    spec: StudySpec, store: Store, trainers: Trainers
) -> None:
    spec = spec.model_copy(update={"trials": 14})
    training = TrainingFake(seconds=0.4)
    run_study(spec, evaluators=_evaluators(training), store=store, runner=trainers)
    trials = store.trials(spec.name)
    states = Counter(trial.state for trial in trials)
    assert states["stopped"] > 0
    assert states["complete"] > 0
    assert states.total() == 14
    for trial in trials:
        if trial.state == "stopped":
            assert trial.outcome is not None
            assert trial.outcome.estimated_loss is not None
            # It was stopped soon after the rung, although the job did not wait for the answer.
            assert len(trial.curve) < 8


class _RestartedJob:
    """A job whose process is killed after three reports, so that it is carried out again."""

    def __init__(self, job: Job) -> None:
        reports: list[Message] = []
        evaluation = job.run(reports.append)
        self._messages: list[Message | None] = [*reports[:3], None, *reports, evaluation]
        self._readable, writable = os.pipe()
        os.close(writable)  # so that the other end is readable from now on

    def fileno(self) -> int:
        return self._readable

    def receive(self) -> Message | None:
        return self._messages.pop(0)

    def stop(self) -> None:
        os.close(self._readable)


class _RestartingRunner:
    count = 2
    is_full = False

    def start(self, job: Job) -> _RestartedJob:
        return _RestartedJob(job)


def test_the_curve_of_a_job_that_was_carried_out_again_has_no_point_twice(
    spec: StudySpec, store: Store
) -> None:
    proxy = spec.proxy.model_copy(update={"rungs": (0.5,)})
    spec = spec.model_copy(update={"trials": 14, "proxy": proxy})
    run_study(spec, evaluators=_evaluators(TrainingFake()), store=store, runner=_RestartingRunner())
    stopped = [trial for trial in store.trials(spec.name) if trial.state == "stopped"]
    assert stopped
    for trial in stopped:
        tokens = [point.tokens for point in trial.curve]
        assert tokens == [spec.proxy.token_budget * step // 8 for step in (1, 2, 3, 4)]


def test_equal_candidates_are_evaluated_once(
    spec: StudySpec, store: Store, trainers: Trainers
) -> None:
    space = spec.space.__class__(
        depth=(1,), width=(256,), mixers=("c", "a"), feed_forward=(1.0,), vocab_size=(1_024,)
    )
    spec = spec.model_copy(update={"space": space, "trials": 8})
    training = TrainingFake(seconds=0.2)
    run_study(spec, evaluators=_evaluators(training), store=store, runner=trainers)
    trials = store.trials(spec.name)
    assert len(trials) == 8
    assert len(training.asked) == len(set(training.asked)) <= 2
    assert sum(trial.duplicate_of is None for trial in trials) == len(training.asked)


def _kill_some(architecture: Architecture) -> None:
    if unlucky(architecture, 0.4):
        os.kill(os.getpid(), signal.SIGKILL)


def _abort_some(architecture: Architecture) -> None:
    if unlucky(architecture, 0.4):
        os.abort()


@pytest.mark.parametrize(("end", "kind"), [(_abort_some, "process died"), (_kill_some, "killed")])
def test_the_death_of_a_trainer_fails_its_trial_and_no_other(
    spec: StudySpec, store: Store, trainers: Trainers, end: object, kind: str
) -> None:
    spec = spec.model_copy(
        update={"trials": 8, "proxy": spec.proxy.model_copy(update={"rungs": ()})}
    )
    training = TrainingFake(seconds=0.1, end=end)  # type: ignore[arg-type]
    events: list[Event] = []
    run_study(
        spec,
        evaluators=_evaluators(training),
        store=store,
        runner=trainers,
        listener=events.append,
    )
    remarks = [event.text for event in events if isinstance(event, Remark)]
    failed = 0
    for trial in store.trials(spec.name):
        repeated = f"{trial.title}: the work is repeated, because its process died: "
        repeats = [remark for remark in remarks if remark.startswith(repeated)]
        assert trial.model is not None
        assert trial.outcome is not None
        if unlucky(store.architecture(trial.model.hash), 0.4):
            failed += 1
            assert (trial.outcome.state, trial.outcome.failure) == ("failed", kind)
            assert trial.outcome.reason
            # It is also repeated if its process may have died because of an earlier one.
            assert len(repeats) in ((2, 3) if kind == "killed" else (0, 1))
        else:
            assert trial.outcome.state == "complete"
            assert repeats == []
    assert 0 < failed < 8


class _Interrupted(Exception):
    pass


def test_an_exception_leaves_every_trial_at_work_for_the_next_run(
    spec: StudySpec, store: Store, trainers: Trainers
) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, StageProgress) and event.trial.number == 4:
            raise _Interrupted

    training = TrainingFake(seconds=0.3)
    with pytest.raises(_Interrupted):
        run_study(
            spec,
            evaluators=_evaluators(training),
            store=store,
            runner=trainers,
            listener=interrupt,
        )
    states = [trial.state for trial in store.trials(spec.name)]
    assert "running" not in states
    assert states.count("interrupted") == trainers.count
    run_study(spec, evaluators=_evaluators(training), store=store, runner=trainers)
    assert {trial.state for trial in store.trials(spec.name)} <= {"complete", "stopped"}


def test_an_exception_ends_the_study_although_the_database_does_not_answer(
    spec: StudySpec, store: Store, trainers: Trainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.search.heartbeat._REPORT_S", 60.0)
    other = sqlite3.connect(spec.storage.removeprefix("sqlite:///"), isolation_level=None)

    def wait(*_: object) -> None:
        pytest.fail("it waits for the database")

    def interrupt(event: Event) -> None:
        if isinstance(event, TrialEnded):
            other.execute("BEGIN IMMEDIATE")
            monkeypatch.setattr("studies.storage.outages.Outages._pause", wait)
            raise _Interrupted

    with pytest.raises(_Interrupted):
        run_study(
            spec,
            evaluators=_evaluators(TrainingFake(seconds=0.4)),
            store=store,
            runner=trainers,
            listener=interrupt,
        )
    other.close()
    assert [trial.state for trial in store.trials(spec.name)].count("running") == 2


def test_a_trial_that_another_process_takes_over_ends_alone(
    spec: StudySpec, store: Store, trainers: Trainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.search.heartbeat._REPORT_S", 0.01)
    lost: list[int] = []

    def take_over(event: Event) -> None:
        if not isinstance(event, StageStarted) or event.trial.number != 1:
            pass
        elif event.stage == "training" and not lost:
            with sqlite3.connect(spec.storage.removeprefix("sqlite:///")) as connection:
                connection.execute(
                    "UPDATE nas_trials SET state = 'interrupted', process = NULL WHERE id = ?",
                    [event.trial.id],
                )
        if isinstance(event, TrialLost):
            lost.append(event.trial.number)

    run_study(
        spec,
        evaluators=_evaluators(TrainingFake(seconds=1.0)),
        store=store,
        runner=trainers,
        listener=take_over,
    )
    assert lost == [1]
    # This process takes it back when it looks for the next trial.
    assert {trial.state for trial in store.trials(spec.name)} <= {"complete", "stopped"}


def test_a_trial_that_is_reopened_at_the_end_is_resumed(
    spec: StudySpec, store: Store, trainers: Trainers
) -> None:
    objectives = Objective(name="loss"), Objective(name="decode", max=3.0)
    spec = spec.model_copy(update={"trials": 12, "objectives": objectives})
    ended: list[Trial] = []

    def reopen(event: Event) -> None:
        if isinstance(event, TrialEnded):
            ended.append(event.trial)
            if len(ended) == 11:  # the last one is still in training
                assert store.reopen(next(each for each in ended if each.state == "infeasible"))

    run_study(
        spec,
        evaluators=_evaluators(TrainingFake(seconds=0.4)),
        store=store,
        runner=trainers,
        listener=reopen,
    )
    assert len(ended) == 13
    assert all(trial.outcome is not None for trial in store.trials(spec.name))


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_study_loses_at_most_the_trainings_at_work(
    tmp_path: Path, kind: signal.Signals
) -> None:
    url = f"sqlite:///{tmp_path}/killed.db"
    command = [sys.executable, "-c", _WORKER, url, "12"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=_ROOT
    ) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        with Store.open(url) as store:
            while not store.studies() or len(store.numbers("small", _ENDED)) < 4:
                time.sleep(0.02)
        worker.send_signal(kind)
    with Store.open(url) as store:
        ended = {
            trial.number: trial for trial in store.trials("small") if trial.outcome is not None
        }
        assert len(ended) >= 4
        assert len(store.trials("small")) - len(ended) <= 3
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=_ROOT, timeout=120)
    with Store.open(url) as store:
        trials = store.trials("small")
        assert [trial.number for trial in trials] == list(range(12))
        assert all(trial.outcome is not None for trial in trials)
        assert {number: trials[number] for number in ended} == ended


def test_a_claim_that_is_repeated_does_not_return_a_trial_at_work(
    spec: StudySpec, store: Store
) -> None:
    spec = with_reference(spec)
    run_study(spec, evaluators=fakes.all_stages(), store=store, trials=1)
    first = store.claim(spec.name, total=6)
    assert first is not None
    store.outages.is_repeating = True  # it is False after every success
    second = store.claim(spec.name, total=6, at_work={first.id})
    assert second is not None
    assert second.id != first.id
    # If the connection had failed, this process would not know of that claim.
    store.outages.is_repeating = True
    assert store.claim(spec.name, total=6, at_work={first.id}) == second
