"""How long a lock is waited for, on a simulated clock; other processes are simulated, too."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from hardware import machine_lock
from hardware.machine_lock import MachineLock, named_holders
from hardware.processes import LockHolder
from tests.hardware.clocks import Clock, SleepingClock

LONGEST_WAIT_S = 300.0


def holder(pid: int, started_ticks: int = 0) -> LockHolder:
    return LockHolder(
        pid=pid, command="nas run", user="ann", started_ticks=started_ticks, is_stopped=False
    )


class SharedLock:
    """A lock that others hold until a moment, and who they are at each moment."""

    def __init__(self, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reports: list[tuple[str, float]] = []
        self._clock = clock
        self._others = MachineLock(path)
        self._lock = MachineLock(path)
        self._others.take(fcntl.LOCK_EX, 0.0, self._report)
        monkeypatch.setattr(machine_lock, "time", clock)
        self._monkeypatch = monkeypatch

    def seconds(
        self, holders: Callable[[float], tuple[LockHolder, ...]], released_at: float = 1e9
    ) -> float | None:
        """Return how long the lock took to take; None if it was given up, and set `given_up_s`."""
        start = self._clock.monotonic()

        def passed() -> float:
            if self._clock.monotonic() - start >= released_at:
                self._others.release()
            return self._clock.monotonic() - start

        self._monkeypatch.setattr(MachineLock, "holders", lambda _: holders(passed()))
        taken = self._lock.take(fcntl.LOCK_EX, LONGEST_WAIT_S, self._report)
        self.given_up_s = self._clock.monotonic() - start
        return self.given_up_s if taken else None

    def close(self) -> None:
        self._lock.__exit__()
        self._others.__exit__()

    def _report(self, who: str, left_s: float) -> None:
        self.reports.append((who, left_s))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_lock, "_given_up", {})
    machine = SharedLock(tmp_path / "lock", SleepingClock(), monkeypatch)
    yield machine
    machine.close()


def test_the_same_process_is_waited_for_until_the_limit(machine):
    assert machine.seconds(lambda _: (holder(1),)) is None
    assert machine.given_up_s == pytest.approx(LONGEST_WAIT_S)


def test_whoever_is_unknown_is_waited_for_until_the_limit(machine):
    assert machine.seconds(lambda _: ()) is None
    assert machine.given_up_s == pytest.approx(LONGEST_WAIT_S)


def test_a_lock_that_is_released_is_taken_soon(machine):
    taken_s = machine.seconds(lambda _: (holder(1),), released_at=200.0)
    assert 200 <= taken_s < 200 + 2.2


def test_the_limit_begins_again_with_every_holder(machine):
    taken_s = machine.seconds(lambda s: (holder(int(s // 200)),), released_at=1_000.0)
    assert 1_000 <= taken_s < 1_000 + 2.2


def test_a_later_process_with_the_same_pid_is_another_one(machine):
    taken_s = machine.seconds(lambda s: (holder(1, int(s // 200)),), released_at=1_000.0)
    assert 1_000 <= taken_s < 1_000 + 2.2


def test_one_of_several_that_stays_is_the_same_process(machine):
    """Trainings pause one by one, but one of them never does."""
    assert machine.seconds(lambda s: (holder(1), holder(100 + int(s // 50)))) is None
    assert machine.given_up_s == pytest.approx(LONGEST_WAIT_S)


def test_even_processes_that_take_turns_are_not_waited_for_without_end(machine):
    assert machine.seconds(lambda s: (holder(int(s // 100)),)) is None
    assert machine.given_up_s == pytest.approx(10 * LONGEST_WAIT_S)


def test_a_holder_that_was_given_up_is_not_waited_for_again_but_others_are(machine):
    assert machine.seconds(lambda _: (holder(1),)) is None
    assert machine.seconds(lambda _: (holder(1),)) is None
    assert machine.given_up_s == 0
    assert machine.seconds(lambda _: (holder(2),)) is None
    assert machine.given_up_s == pytest.approx(LONGEST_WAIT_S)


def test_who_holds_it_is_reported_every_two_seconds_with_the_time_left(machine):
    machine.seconds(lambda s: (holder(1 + int(s >= 10)),), released_at=14.0)
    names = [who for who, _ in machine.reports]
    one, other = (f" (`nas run`, pid {pid}, user ann)" for pid in (1, 2))
    assert len(names) == 8
    assert names == [one] * names.count(one) + [other] * names.count(other)
    left_s = [left_s for _, left_s in machine.reports[: names.count(one)]]
    assert left_s == pytest.approx([300, 298, 296, 294, 292][: len(left_s)], abs=1.0)


def test_at_most_three_holders_are_named():
    assert named_holders([holder(pid) for pid in range(5)]).count("pid") == 3
    assert named_holders([]) == ""
