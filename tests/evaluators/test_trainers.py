"""Processes that carry out jobs: their results, their deaths, and what remains of them."""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Pipe, wait
from pathlib import Path

import numpy as np
import pytest

from evaluators.evaluator import Evaluation, EvaluationFailed, Infeasible, Progress
from evaluators.job_messages import Reply, receive, send
from evaluators.jobs import Job, JobRunner, RunningJob
from evaluators.trainers import Trainers
from tests.evaluators.jobs import FakeJob, SumJob

_ROOT = Path(__file__).parents[2]
_LONGEST_S = 60.0


@pytest.fixture(autouse=True)
def importable_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trainers import the jobs of the tests."""
    monkeypatch.setenv("PYTHONPATH", str(_ROOT))


@pytest.fixture
def trainers() -> Iterator[Trainers]:
    with Trainers(2) as trainers:
        yield trainers


def _messages(running: RunningJob) -> Iterator[Progress | Evaluation]:
    """Yield the messages of a job to its end."""
    while True:
        message = running.receive()
        if message is not None:
            yield message
        if isinstance(message, Evaluation):
            return


def _loss(running: RunningJob) -> float:
    *_, evaluation = _messages(running)
    assert isinstance(evaluation, Evaluation)
    return evaluation.scores[0].value


def _carry_out(runner: JobRunner, job: Job) -> float:
    return _loss(runner.start(job))


def _pids(folder: Path) -> set[int]:
    return {int(path.name.partition("-")[0]) for path in folder.iterdir()}


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _LONGEST_S
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_job_reports_its_progress_and_then_its_evaluation(trainers: Trainers) -> None:
    *progress, evaluation = _messages(trainers.start(FakeJob(loss=2.5, steps=3)))
    assert progress == [Progress(done=n / 3, text=f"step {n}") for n in (1, 2, 3)]
    assert evaluation == FakeJob(loss=2.5).run(lambda _: None)


def test_jobs_run_at_the_same_time_in_processes_of_their_own(
    trainers: Trainers, tmp_path: Path
) -> None:
    jobs = [trainers.start(FakeJob(loss=n, traces=tmp_path, seconds=0.05)) for n in (1.0, 2.0)]
    # The second one speaks before the first one has ended.
    spoken: list[RunningJob] = []
    losses: dict[RunningJob, float] = {}
    while len(losses) < 2:
        for running in jobs:
            if running in losses or running.fileno() not in wait([running.fileno()], 0.001):
                continue
            message = running.receive()
            if isinstance(message, Evaluation):
                losses[running] = message.scores[0].value
            else:
                spoken.append(running)
                assert set(spoken) == set(jobs) or not losses
    assert sorted(losses.values()) == [1.0, 2.0]
    assert len(_pids(tmp_path)) == 2
    assert os.getpid() not in _pids(tmp_path)


def test_a_process_carries_out_many_jobs(tmp_path: Path) -> None:
    with Trainers(1) as trainers:
        losses = [_carry_out(trainers, FakeJob(loss=n, traces=tmp_path)) for n in (1.0, 2.0, 3.0)]
    assert losses == [1.0, 2.0, 3.0]
    assert len(_pids(tmp_path)) == 1


class TestAFailureIsAResult:
    @pytest.mark.parametrize(
        ("ending", "kind"),
        [
            ("diverged", "diverged"),
            ("memory", "out of memory"),
            ("abort", "process died"),
            ("killed", "killed"),
        ],
    )
    def test_of_this_job_and_of_no_other(self, trainers: Trainers, ending: str, kind: str) -> None:
        other = trainers.start(FakeJob(loss=2.0, steps=20, seconds=0.02))
        with pytest.raises(EvaluationFailed) as raised:
            _carry_out(trainers, FakeJob(ending=ending))
        assert raised.value.kind == kind
        assert raised.value.reason
        assert _loss(other) == 2.0
        assert _carry_out(trainers, FakeJob(loss=3.0)) == 3.0

    def test_that_an_architecture_is_infeasible(self, trainers: Trainers) -> None:
        with pytest.raises(Infeasible, match="requested by the test"):
            _carry_out(trainers, FakeJob(ending="infeasible"))

    def test_but_a_programming_error_is_none(self, trainers: Trainers) -> None:
        with pytest.raises(RuntimeError, match="KeyError: 'requested by the test'"):
            _carry_out(trainers, FakeJob(ending="error"))
        assert _carry_out(trainers, FakeJob(loss=3.0)) == 3.0


def test_a_job_whose_process_was_killed_is_carried_out_again(
    trainers: Trainers, tmp_path: Path
) -> None:
    job = FakeJob(loss=2.0, ending="killed", most_kills=2, traces=tmp_path)
    *progress, evaluation = _messages(trainers.start(job))
    assert evaluation == FakeJob(loss=2.0).run(lambda _: None)
    assert len(_pids(tmp_path)) == 3
    remarks = [each.remark for each in progress if isinstance(each, Progress) and each.remark]
    assert len(remarks) == 2
    for remark in remarks:
        assert remark.startswith("the work is repeated, because its process died: ")
        assert "SIGKILL" in remark


def test_a_process_that_cannot_start_is_no_failure_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('half of it is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Trainers(1) as trainers:
        with pytest.raises(ValueError, match=r"cannot start \(.*half of it is missing\); free"):
            _carry_out(trainers, FakeJob())
        monkeypatch.setenv("PYTHONPATH", str(_ROOT))
        assert _carry_out(trainers, FakeJob(loss=2.0)) == 2.0


def test_a_stopped_job_ends_and_its_process_carries_out_the_next_one(tmp_path: Path) -> None:
    endless = FakeJob(steps=1_000_000, seconds=0.01, traces=tmp_path)
    with Trainers(1) as trainers:
        for loss in (2.0, 3.0):
            stopped = trainers.start(endless)
            assert isinstance(stopped.receive(), Progress)
            stopped.stop()
            stopped.stop()  # nothing happens
            assert _carry_out(trainers, FakeJob(loss=loss, traces=tmp_path)) == loss
    assert len(_pids(tmp_path)) == 1


@pytest.mark.parametrize("ending", ["abort", "killed"])
def test_the_death_of_a_process_in_a_stopped_job_is_no_failure_of_the_next_one(ending: str) -> None:
    with Trainers(1) as trainers:
        stopped = trainers.start(FakeJob(steps=1, ending=ending))
        assert isinstance(stopped.receive(), Progress)
        stopped.stop()  # too late
        assert _carry_out(trainers, FakeJob(loss=2.0)) == 2.0


def test_stopping_a_job_that_has_ended_does_not_stop_the_next_one() -> None:
    with Trainers(1) as trainers:
        for loss in (1.0, 2.0, 3.0):
            running = trainers.start(FakeJob(loss=loss))
            assert _loss(running) == loss
            running.stop()


def test_no_process_remains(tmp_path: Path) -> None:
    with Trainers(2) as trainers:
        for _ in range(2):
            trainers.start(FakeJob(steps=1_000_000, seconds=0.01, traces=tmp_path)).receive()
        assert all(map(_is_running, _pids(tmp_path)))
    assert len(_pids(tmp_path)) == 2
    assert not any(map(_is_running, _pids(tmp_path)))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a report has to come first")
def test_trainers_end_soon_after_their_parent_was_killed(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from evaluators.trainers import Trainers\n"
        "from tests.evaluators.jobs import FakeJob\n"
        "trainers, traces = Trainers(2), pathlib.Path(sys.argv[1])\n"
        "trainers.start(FakeJob(seconds=3_600.0, traces=traces))\n"  # reports nothing meanwhile
        "running = trainers.start(FakeJob(steps=1, traces=traces))\n"  # and this one waits
        "running.receive(), running.receive()\n"
        "while len(list(traces.iterdir())) < 2:\n"
        "    pass\n"
        "print('ready', flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_ROOT,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        pids = _pids(tmp_path)
        assert len(pids) == 2
        parent.kill()
    assert _eventually(lambda: not any(map(_is_running, pids)))


class TestMappedArrays:
    def test_of_a_file_that_becomes_shorter_fail_no_job(
        self, trainers: Trainers, tmp_path: Path
    ) -> None:
        np.save(tmp_path / "ids.npy", np.ones(100_000, dtype=np.uint16))
        job = SumJob(ids=np.load(tmp_path / "ids.npy", mmap_mode="r"))
        messages = _messages(trainers.start(job))
        assert next(messages) == Progress(done=0.5, text="sum 100000")
        os.truncate(tmp_path / "ids.npy", 100)  # the next sum ends the process with SIGBUS
        with pytest.raises(ValueError, match=r"ids\.npy has become shorter"):
            list(messages)
        with pytest.raises(ValueError, match=r"ids\.npy has become shorter"):
            trainers.start(job)
        assert _carry_out(trainers, FakeJob(loss=2.0)) == 2.0

    def test_are_sent_by_the_name_of_their_file(self, tmp_path: Path) -> None:
        np.save(tmp_path / "ids.npy", np.arange(100_000, dtype=np.uint16))
        mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
        here, there = Pipe()
        with here, there:
            send(here, Reply(number=1, content=mapped))
            content = there.recv_bytes()
            assert len(content) < 1_000
            received = pickle.loads(content).content
        assert isinstance(received, np.memmap)
        np.testing.assert_array_equal(received, mapped)

    def test_are_sent_with_their_content_if_the_file_was_deleted(self, tmp_path: Path) -> None:
        np.save(tmp_path / "ids.npy", np.arange(1_000, dtype=np.uint16))
        mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
        (tmp_path / "ids.npy").unlink()
        here, there = Pipe()
        with here, there:
            send(here, Reply(number=1, content=mapped))
            received = receive(there).content
        np.testing.assert_array_equal(received, np.arange(1_000))

    def test_parts_of_them_are_sent_whole(self, tmp_path: Path) -> None:
        np.save(tmp_path / "ids.npy", np.arange(1_000, dtype=np.uint16))
        mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
        here, there = Pipe()
        with here, there:
            send(here, Reply(number=1, content=mapped[100:200]))
            received = receive(there).content
        np.testing.assert_array_equal(received, np.arange(100, 200))
