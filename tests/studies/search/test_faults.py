"""Searches by real processes whose database, clocks and neighbours fail, and what must not happen.

Whatever fails: no trial is lost, changed, evaluated twice, or condemned for what happened to it,
and every process ends with a sentence.
"""

import contextlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from studies.storage.store import Store
from tests.studies.postgresql import PostgresqlServer

_WORKER = """
import sys
from studies.search.events import Remark, TrialLost
from studies.search.loop import run_study
from studies.storage.store import Store
from tests.studies.fakes import all_stages, small_spec

url, trials, seconds, lease_s = sys.argv[1], *map(float, sys.argv[2:])
stages = all_stages()
for stage in stages:
    stage.seconds = seconds

def listen(event):
    if isinstance(event, Remark | TrialLost):
        print(event, flush=True)

try:
    with Store.open(url) as store:
        spec = small_spec(url, trials=int(trials))
        run_study(spec, evaluators=stages, store=store, listener=listen, lease_s=lease_s)
except ValueError as error:
    sys.exit(str(error))
finally:
    for stage in stages:
        for digest in stage.asked:
            print("asked", stage.stage, digest, flush=True)
"""
_ROOT = Path(__file__).parents[3]
_UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


class Worker:
    """A process that runs the study `small`, with its output in files.

    Args:
        folder: A folder for the files.
        url: The database.
        trials: The number of candidates.
        seconds: The time of each stage.
        lease_s: See `run_study`.
        prefix: Put before the command.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        trials: int = 30,
        seconds: float = 0.05,
        lease_s: float = 3.0,
        prefix: Sequence[str] = (),
    ) -> None:
        name = f"{len(list(folder.glob('*.out')))}"
        numbers = (f"{trials}", f"{seconds}", f"{lease_s}")
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-c", _WORKER, url, *numbers],
                stdout=out,
                stderr=err,
                cwd=_ROOT,
            )

    def finish(self) -> None:
        """Wait until the process ends, as it should."""
        assert self.process.wait(timeout=240) == 0, self.errors

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def errors(self) -> str:
        return self._err.read_text()

    @property
    def asked(self) -> list[str]:
        lines = self.output.splitlines()
        return [line for line in lines if line.startswith("asked")]


@contextlib.contextmanager
def ended(workers: Sequence[Worker]) -> Iterator[None]:
    try:
        yield
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()


def check(url: str, total: int, workers: Sequence[Worker]) -> None:
    """Check that every trial has ended well, and that no process ended with a traceback."""
    for worker in workers:
        assert "Traceback" not in worker.errors, worker.errors
    with Store.open(url) as store:
        trials = store.trials("small")
        states = Counter(trial.state for trial in trials)
        assert [trial.number for trial in trials] == list(range(total))
        assert states["complete"] + states["stopped"] == total, states


def wait_for(url: str, count: int) -> None:
    """Wait until some candidates have ended."""
    while True:
        with contextlib.suppress(ValueError), Store.open_to_read(url) as store:
            states = Counter(trial.state for trial in store.trials("small"))
            if states["complete"] + states["stopped"] >= count:
                return
        time.sleep(0.1)


def test_two_workers_in_different_containers_share_a_study(tmp_path: Path) -> None:
    """They have the same host name, and cannot look each other up."""
    if shutil.which("unshare") is None or subprocess.run([*_UNSHARE, "true"]).returncode:
        pytest.skip("this user may not create PID namespaces")
    url = f"sqlite:///{tmp_path}/study.db"
    workers = [Worker(tmp_path, url, prefix=_UNSHARE) for _ in range(2)]
    with ended(workers):
        for worker in workers:
            worker.finish()
    check(url, 30, workers)
    asked = Counter(line for worker in workers for line in worker.asked)
    assert set(asked.values()) == {1}
    assert all(worker.asked for worker in workers)
    assert not any("TrialLost" in worker.output for worker in workers)


def test_a_trial_that_a_vanished_container_left_is_taken_over(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run([*_UNSHARE, "true"]).returncode:
        pytest.skip("this user may not create PID namespaces")
    url = f"sqlite:///{tmp_path}/study.db"
    victim = Worker(tmp_path, url, trials=4, seconds=0.5, lease_s=2.0, prefix=_UNSHARE)
    with ended([victim]):
        wait_for(url, 1)
    survivor = Worker(tmp_path, url, trials=4, seconds=0.05)
    with ended([survivor]):
        survivor.finish()
    check(url, 4, [survivor])
    assert "which this process cannot look up; waiting for up to 2 s" in survivor.output


def test_a_worker_that_was_stopped_gives_way_and_goes_on(tmp_path: Path, sqlite_url: str) -> None:
    """Its neighbour takes its trial over, which it notices as soon as it runs again."""
    if shutil.which("unshare") is None or subprocess.run([*_UNSHARE, "true"]).returncode:
        pytest.skip("this user may not create PID namespaces")
    stopped = Worker(tmp_path, sqlite_url, trials=6, seconds=1.0, lease_s=2.0)
    wait_for(sqlite_url, 1)
    stop_outside_a_transaction(stopped, tmp_path / "study.db")
    other = Worker(tmp_path, sqlite_url, trials=6, seconds=0.05, lease_s=2.0, prefix=_UNSHARE)
    with ended([stopped, other]):
        other.finish()
        check(sqlite_url, 6, [other])
        stopped.process.send_signal(signal.SIGCONT)
        stopped.finish()
    check(sqlite_url, 6, [stopped, other])


def stop_outside_a_transaction(worker: Worker, file: Path) -> None:
    """Stop a process while it does not hold the lock of its database."""
    while True:
        worker.process.send_signal(signal.SIGSTOP)
        other = sqlite3.connect(file, isolation_level=None, timeout=0)
        with contextlib.closing(other), contextlib.suppress(sqlite3.OperationalError):
            other.execute("BEGIN IMMEDIATE")
            return
        worker.process.send_signal(signal.SIGCONT)
        time.sleep(0.1)


def test_workers_survive_restarts_of_the_server(
    tmp_path: Path, own_server: PostgresqlServer
) -> None:
    url = own_server.new_database()
    workers = [Worker(tmp_path, url, trials=40) for _ in range(3)]
    with ended(workers):
        for count in (5, 12):
            wait_for(url, count)
            own_server.stop("fast")
            time.sleep(1.0)
            own_server.start()
        for worker in workers:
            worker.finish()
    check(url, 40, workers)
    asked = Counter(line for worker in workers for line in worker.asked)
    assert set(asked.values()) == {1}


def test_a_locked_file_holds_a_search_up_but_does_not_end_it(
    tmp_path: Path, sqlite_url: str
) -> None:
    worker = Worker(tmp_path, sqlite_url, trials=40)
    with ended([worker]):
        wait_for(sqlite_url, 2)
        with contextlib.closing(
            sqlite3.connect(tmp_path / "study.db", isolation_level=None, timeout=60)
        ) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(6.0)
            connection.execute("COMMIT")
        worker.finish()
    check(sqlite_url, 40, [worker])
    assert "the database is locked by another program; trying again" in worker.output
    assert "the database answers again" in worker.output


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_and_restarts_condemn_no_trial(tmp_path: Path, own_server: PostgresqlServer) -> None:
    """Three workers, replaced whenever one is killed; the server restarts every ten seconds."""
    url, total = own_server.new_database(), 300
    generator = random.Random(7)

    def start() -> Worker:
        return Worker(tmp_path, url, trials=total, seconds=0.2)

    workers = [start() for _ in range(3)]
    alive = list(workers)
    kills = restarts = 0
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: [each.process.kill() for each in workers])
        end = time.monotonic() + 120
        while time.monotonic() < end and any(each.process.poll() is None for each in alive):
            time.sleep(generator.uniform(1.0, 4.0))
            if generator.random() < 0.3:
                own_server.stop(generator.choice(["fast", "immediate"]))
                time.sleep(generator.uniform(0.0, 3.0))
                own_server.start()
                restarts += 1
            victim = generator.choice(alive)
            if victim.process.poll() is None:
                victim.process.kill()
                victim.process.wait()
                kills += 1
                alive.remove(victim)
                workers.append(start())
                alive.append(workers[-1])
        for worker in alive:
            # One that began while the server was down has said so and ended.
            was_early = worker.process.wait(timeout=240) and "cannot be opened" in worker.errors
            (start() if was_early else worker).finish()
    print(f"{kills} kills, {restarts} restarts")
    assert kills > 10
    assert restarts > 2
    check(url, total, workers)
