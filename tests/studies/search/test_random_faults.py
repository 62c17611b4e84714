"""Searches by three processes, under faults at random moments.

NAS_TEST_FAULT_SECONDS sets how long a database is under faults; the default is two minutes.
"""

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Protocol

import pytest

from studies.storage.database_url import file_of, parse_url
from studies.storage.store import Store
from tests.studies.postgresql import PostgresqlServer
from tests.studies.search.study_processes import (
    Worker,
    check_study,
    ended_trials,
    killed_at_exit,
    wait_until_ended,
)

_SECONDS = float(os.environ.get("NAS_TEST_FAULT_SECONDS", "120"))
_LEASE_S = 3.0
# More than end in that time.
_TRIALS_PER_SECOND = 20
_LONGEST_RECOVERY_S = 60.0


class FaultyDatabase(Protocol):
    """A database that can be made to fail."""

    def fail(self, generator: random.Random) -> str:
        """Fail for a moment, and return the name of the fault."""


class FaultyServer:
    """A server that is stopped and started again."""

    def __init__(self, server: PostgresqlServer) -> None:
        self._server = server

    def fail(self, generator: random.Random) -> str:
        mode = generator.choice(["fast", "immediate"])
        self._server.stop(mode)
        time.sleep(generator.uniform(0.0, 3.0))
        self._server.start()
        return f"{mode} restarts of the server"


class FaultyFile:
    """A file that another program locks."""

    def __init__(self, url: str) -> None:
        self._file = file_of(parse_url(url))

    def fail(self, generator: random.Random) -> str:
        connection = sqlite3.connect(self._file, isolation_level=None, timeout=60)
        with contextlib.closing(connection):
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(generator.uniform(1.0, 8.0))
            connection.execute("ROLLBACK")
        return "locks of the file"


@pytest.fixture(params=["sqlite", "postgresql"])
def faulty(
    request: pytest.FixtureRequest,
) -> tuple[str, FaultyDatabase]:
    """The URL of a database, and how it fails."""
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
        return url, FaultyFile(url)
    server: PostgresqlServer = request.getfixturevalue("own_server")
    return server.new_database(), FaultyServer(server)


@pytest.mark.slow
@pytest.mark.timeout(_SECONDS + 1_200)
def test_no_trial_is_lost_changed_or_condemned(
    tmp_path: Path, faulty: tuple[str, FaultyDatabase]
) -> None:
    """A process that is killed is replaced, and one that is stopped continues later."""
    url, database = faulty
    seed = random.SystemRandom().randrange(1 << 32)
    generator = random.Random(seed)
    print(f"seed {seed}")

    workers: list[Worker] = []

    def start(trials: int = round(_TRIALS_PER_SECOND * _SECONDS)) -> Worker:
        worker = Worker(tmp_path, url, trials=trials, seconds=0.2, lease_s=_LEASE_S)
        workers.append(worker)
        return worker

    active = [start() for _ in range(3)]
    faults: Counter[str] = Counter()
    fault_ends: list[float] = []
    known: dict[int, tuple[str, str, dict[str, float]]] = {}
    with killed_at_exit(workers):
        wait_until_ended(url, 1)
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            time.sleep(generator.uniform(3.0, 12.0))
            active = [start() if _was_refused(worker) else worker for worker in active]
            victim = generator.choice([worker for worker in active if worker.is_running])
            match generator.choice(["kill", "kill", "stop", "database"]):
                case "kill":
                    victim.process.kill()
                    victim.process.wait()
                    active[active.index(victim)] = start()
                    faults["kills"] += 1
                case "stop":
                    victim.process.send_signal(signal.SIGSTOP)
                    time.sleep(generator.uniform(0.0, 3 * _LEASE_S))
                    victim.process.send_signal(signal.SIGCONT)
                    faults["stops"] += 1
                case "database":
                    faults[database.fail(generator)] += 1
            fault_ends.append(time.monotonic())
            now = ended_trials(url)
            assert now | known == now
            known = now
        for worker in active:
            worker.process.kill()
            worker.process.wait()
        with Store.open(url) as store:
            total = len(store.trials("small"))
        start(total).finish()
    ends = [when for worker in workers for _, when in worker.ends]
    recoveries_s = [
        min((when - fault for when in ends if when > fault), default=0.0) for fault in fault_ends
    ]
    taken_over = sum(worker.output.count("TrialLost") for worker in workers)
    print(
        f"{total} trials; {', '.join(f'{count} {name}' for name, count in sorted(faults.items()))}"
        f"; a trial ended at most {max(recoveries_s):.1f} s after a fault; {taken_over} trials "
        "were taken over from a process that was stopped"
    )
    check_study(url, total, workers)
    now = ended_trials(url)
    assert now | known == now
    assert max(recoveries_s) < _LONGEST_RECOVERY_S
    assert faults["kills"] > _SECONDS / 60


def _was_refused(worker: Worker) -> bool:
    """Return whether a process began while the server was down; it has said so and ended."""
    return worker.process.poll() == 2 and "cannot be opened" in worker.errors
