"""Searches by real processes whose database, clocks and neighbours fail, and what must not happen.

Whatever fails: no trial is lost, changed, evaluated twice, or condemned for what happened to it,
and every process ends with a sentence.
"""

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.studies.postgresql import PostgresqlServer
from tests.studies.search.study_processes import (
    Worker,
    check_study,
    killed_at_exit,
    wait_until_ended,
    wait_until_training,
)

_UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def test_two_workers_in_different_containers_share_a_study(tmp_path: Path) -> None:
    """They have the same host name, and cannot look each other up."""
    if shutil.which("unshare") is None or subprocess.run([*_UNSHARE, "true"]).returncode:
        pytest.skip("this user may not create PID namespaces")
    url = f"sqlite:///{tmp_path}/study.db"
    workers = [Worker(tmp_path, url, prefix=_UNSHARE) for _ in range(2)]
    with killed_at_exit(workers):
        for worker in workers:
            worker.finish()
    check_study(url, 30, workers)
    asked = Counter(line for worker in workers for line in worker.asked)
    assert set(asked.values()) == {1}
    assert all(worker.asked for worker in workers)
    assert not any("TrialLost" in worker.output for worker in workers)


def test_a_trial_that_a_vanished_container_left_is_taken_over(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run([*_UNSHARE, "true"]).returncode:
        pytest.skip("this user may not create PID namespaces")
    url = f"sqlite:///{tmp_path}/study.db"
    victim = Worker(tmp_path, url, trials=4, seconds=5.0, lease_s=10.0, prefix=_UNSHARE)
    with killed_at_exit([victim]):
        wait_until_training(url)
    survivor = Worker(tmp_path, url, trials=4, seconds=0.05)
    with killed_at_exit([survivor]):
        survivor.finish()
    check_study(url, 4, [survivor])
    assert "which this process cannot look up; waiting for up to 10 s" in survivor.output


def test_a_worker_that_was_stopped_gives_way_and_goes_on(tmp_path: Path, sqlite_url: str) -> None:
    """Its neighbour takes its trial over, which it notices as soon as it runs again."""
    if shutil.which("unshare") is None or subprocess.run([*_UNSHARE, "true"]).returncode:
        pytest.skip("this user may not create PID namespaces")
    stopped = Worker(tmp_path, sqlite_url, trials=6, seconds=1.0, lease_s=2.0)
    wait_until_ended(sqlite_url, 1)
    stop_outside_a_transaction(stopped, tmp_path / "study.db")
    other = Worker(tmp_path, sqlite_url, trials=6, seconds=0.05, lease_s=2.0, prefix=_UNSHARE)
    with killed_at_exit([stopped, other]):
        other.finish()
        check_study(sqlite_url, 6, [other])
        stopped.process.send_signal(signal.SIGCONT)
        stopped.finish()
    check_study(sqlite_url, 6, [stopped, other])


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
    with killed_at_exit(workers):
        for count in (5, 12):
            wait_until_ended(url, count)
            own_server.stop("fast")
            time.sleep(1.0)
            own_server.start()
        for worker in workers:
            worker.finish()
    check_study(url, 40, workers)
    asked = Counter(line for worker in workers for line in worker.asked)
    assert set(asked.values()) == {1}


def test_a_locked_file_holds_a_search_up_but_does_not_end_it(
    tmp_path: Path, sqlite_url: str
) -> None:
    worker = Worker(tmp_path, sqlite_url, trials=40)
    with killed_at_exit([worker]):
        wait_until_ended(sqlite_url, 2)
        with contextlib.closing(
            sqlite3.connect(tmp_path / "study.db", isolation_level=None, timeout=60)
        ) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(20.0)  # Optuna itself repeats the insertion of a trial for up to 15 s
            connection.execute("COMMIT")
        worker.finish()
    check_study(sqlite_url, 40, [worker])
    assert "the database is locked by another program; trying again" in worker.output
    assert "the database answers again" in worker.output
