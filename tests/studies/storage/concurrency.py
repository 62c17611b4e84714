"""Two processes that write to one database at the same moment, each with its own connection."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

import sqlalchemy as sa

from studies.storage.store import Store

Result = TypeVar("Result")

_MOST_SECONDS = 60.0


def at_once(url: str, work: Callable[[Store, int], None]) -> None:
    """Run work in two threads, each with a store of its own, from the same moment on."""
    barrier = threading.Barrier(2)

    def run(worker: int) -> None:
        with Store.open(url) as other:
            barrier.wait()
            work(other, worker)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))


class HeldTransaction(Generic[Result]):
    """A transaction, in a thread and a store of its own, that waits just before its commit.

    The store is open before the work is started, because opening one waits for other writers.
    """

    def __init__(self, url: str, work: Callable[[Store], Result]) -> None:
        self._work = work
        self._store = Store.open(url)
        self._at_commit, self._may_commit = threading.Event(), threading.Event()
        sa.event.listen(self._store._database.engine, "commit", self._hold)
        self._pool = ThreadPoolExecutor(1)
        self._result: Future[Result] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._may_commit.set()
        self._pool.shutdown()
        self._store.close()

    def start(self) -> None:
        """Start the work."""
        self._result = self._pool.submit(self._work, self._store)

    def is_at_commit(self) -> bool:
        """Return whether it has done its work."""
        return self._at_commit.is_set()

    def commit(self) -> Result:
        """Let it commit, and return the result of its work."""
        assert self._result is not None
        wait_until(self.is_at_commit)
        self._may_commit.set()
        return self._result.result(_MOST_SECONDS)

    def _hold(self, connection: sa.Connection) -> None:
        self._at_commit.set()
        assert self._may_commit.wait(_MOST_SECONDS)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that becomes true soon."""
    end = time.monotonic() + _MOST_SECONDS
    while not condition():
        assert time.monotonic() < end, "it never becomes true"
        time.sleep(0.005)


def is_waiting_for_a_lock(url: str) -> bool:
    """Return whether a transaction waits for another; SQLite lets every second writer wait."""
    if url.startswith("sqlite"):
        return True
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        waiting = connection.scalar(
            sa.text(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )
    engine.dispose()
    return bool(waiting)
