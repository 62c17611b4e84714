"""Clocks that read the kernel's counters, and the policies of threads that take precedence (Linux).

`test_waiting_clocks.py` has the tests with models and programs that compete with them.
"""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from hardware.thread_scheduling import (
    WaitClock,
    make_wait_clock,
    own_threads,
    parse_waited_ns,
    taking_precedence,
)

CALLING, WORKER = 7, 8
OFF = "0 0 0\n"


class TestSchedstat:
    def test_it_has_the_time_of_waiting(self):
        assert parse_waited_ns("1200 34 5\n") == parse_waited_ns(b"1200 34 5\n") == 34

    @pytest.mark.parametrize("content", ["0 0 1", "1 0 0", "1 0 1"])
    def test_a_thread_that_did_not_wait_is_known(self, content):
        assert parse_waited_ns(content) == 0

    def test_a_kernel_that_does_not_count_shows_zeros(self):
        assert parse_waited_ns(OFF) is None

    @pytest.mark.parametrize("content", ["", "1 2", "1 2 x"])
    def test_anything_else_is_refused(self, content):
        with pytest.raises(ValueError):  # noqa: PT011 - of Python itself
            parse_waited_ns(content)


class Threads:
    """A folder that describes two threads, and a clock for them."""

    def __init__(self, folder: Path, calling: str, worker: str) -> None:
        self._folder = folder
        for thread in (CALLING, WORKER):
            (folder / str(thread)).mkdir()
        self.show(calling, worker)
        self.clock: WaitClock = make_wait_clock(2, [CALLING, WORKER], folder)
        self.clock.start()

    def show(self, calling: str, worker: str) -> None:
        for thread, content in ((CALLING, calling), (WORKER, worker)):
            (self._folder / str(thread) / "schedstat").write_text(content)


class TestRunQueueClock:
    @pytest.mark.parametrize(
        ("calling", "worker", "waited_ns"),
        [
            ("1900 130 3", "2900 260 4", 60),  # the longest wait counts
            ("1900 170 3", "2900 210 4", 70),
            ("1900 100 2", "2900 200 3", 0),
            ("1900 100 3", "2900 99200 4", 1000),  # no more than the sample took
        ],
    )
    def test_it_shows_how_much_longer_the_threads_have_waited(
        self, tmp_path, calling, worker, waited_ns
    ):
        threads = Threads(tmp_path, "1000 100 2", "2000 200 3")
        threads.show(calling, worker)
        assert threads.clock.waited_ns(1000) == waited_ns

    @pytest.mark.parametrize("before", [OFF, "1000 100 2\n"])
    @pytest.mark.parametrize("after", [OFF, "1900 500 2\n"])
    def test_a_wait_is_unknown_while_the_kernel_does_not_count(self, tmp_path, before, after):
        """The kernel can be told to count, and not to count, while programs run."""
        threads = Threads(tmp_path, before, before)
        threads.show(after, after)
        expected = None if OFF in (before, after) else 400
        assert threads.clock.waited_ns(1000) == expected

    def test_a_worker_that_has_never_run_does_not_hide_the_others(self, tmp_path):
        threads = Threads(tmp_path, "1000 100 2", OFF)
        threads.show("1900 130 3", OFF)
        assert threads.clock.waited_ns(1000) == 30

    def test_each_start_begins_again(self, tmp_path):
        threads = Threads(tmp_path, "1000 100 2", "2000 200 3")
        threads.show("1900 130 3", "2900 260 4")
        threads.clock.start()
        threads.show("2900 140 3", "3900 265 4")
        assert threads.clock.waited_ns(1000) == 10

    @pytest.mark.parametrize("threads", [[], [CALLING, WORKER]])
    def test_a_wait_is_unknown_without_files(self, tmp_path, threads):
        clock = make_wait_clock(2, threads, tmp_path)
        clock.start()
        assert clock.waited_ns(1000) is None


def test_a_single_thread_needs_no_files(tmp_path):
    clock = make_wait_clock(1, [], tmp_path)
    clock.start()
    assert clock.waited_ns(0) == 0
    hour_ns = 3600 * 10**9  # in which this thread has hardly run
    assert 0.9 * hour_ns < clock.waited_ns(hour_ns) <= hour_ns


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_calling_thread_comes_first():
    with ThreadPoolExecutor(1) as other:
        expected = (other.submit(threading.get_native_id).result(), threading.get_native_id())
        found = (other.submit(own_threads).result(), own_threads())
    assert tuple(threads[0] for threads in found) == expected
    for threads in found:
        assert set(expected) <= set(threads)
        assert len(set(threads)) == len(threads)


Result = TypeVar("Result")


def in_new_thread(work: Callable[[], Result]) -> Result:
    """Call a function in a thread of its own, whose policy no other test depends on."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def policy() -> tuple[int, int]:
    """Return the scheduling policy of the calling thread, and its priority."""
    return os.sched_getscheduler(0), os.sched_getparam(0).sched_priority


def policies_around(before: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the policy of a thread while it takes precedence, and afterwards."""

    def work() -> list[tuple[int, int]]:
        os.sched_setscheduler(0, before[0], os.sched_param(before[1]))
        assert policy() == before
        with taking_precedence([threading.get_native_id()]):
            during = policy()
        return [during, policy()]

    return in_new_thread(work)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such policies")
class TestPrecedence:
    @pytest.fixture(autouse=True)
    def permission(self) -> None:
        try:
            policies_around((os.SCHED_FIFO, 1))
        except PermissionError:
            pytest.skip("this process may not choose how it is scheduled")

    @pytest.mark.parametrize("name", ["SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE"])
    @pytest.mark.parametrize("flag", ["", "SCHED_RESET_ON_FORK"])
    def test_an_ordinary_thread_has_its_policy_again_afterwards(self, name, flag):
        flags = getattr(os, flag) if flag else 0
        before = getattr(os, name) | flags, 0
        assert policies_around(before) == [(os.SCHED_FIFO | flags, 1), before]

    @pytest.mark.parametrize("name", ["SCHED_FIFO", "SCHED_RR"])
    @pytest.mark.parametrize("priority", [1, 5])
    def test_a_real_time_thread_keeps_its_policy(self, name, priority):
        before = getattr(os, name), priority
        assert policies_around(before) == [before, before]

    def test_the_nice_value_is_the_same_afterwards(self):
        def work() -> tuple[int, int]:
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, 5)
            with taking_precedence([thread]):
                assert policy() == (os.SCHED_FIFO, 1)
            return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, thread)

        assert in_new_thread(work) == (os.SCHED_OTHER, 5)

    def test_it_ends_with_an_exception(self):
        def work() -> tuple[int, int]:
            thread = threading.get_native_id()
            with pytest.raises(ZeroDivisionError), taking_precedence([thread]):
                raise ZeroDivisionError
            return policy()

        assert in_new_thread(work) == (os.SCHED_OTHER, 0)
