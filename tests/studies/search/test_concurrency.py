"""Work that waits for jobs: its order, its exceptions, and Ctrl-C."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from evaluators.evaluator import Evaluation, EvaluationFailed, Progress, Score
from evaluators.jobs import Job, Message
from studies.search.concurrency import Work, carried_out, work_concurrently
from studies.search.interrupts import Interrupts
from tests.evaluators.jobs import FakeJob


@dataclass(eq=False)
class _Running:
    """A job that has ended before anyone asks; `receive` returns its messages one by one."""

    messages: list[Message | Exception | None]
    stopped: bool = False

    def __post_init__(self) -> None:
        self._readable, writable = os.pipe()
        os.close(writable)  # so that the other end is readable from now on

    def fileno(self) -> int:
        return self._readable

    def receive(self) -> Message | None:
        message = self.messages.pop(0)
        if isinstance(message, Exception):
            raise message
        return message

    def stop(self) -> None:
        if not self.stopped:
            os.close(self._readable)
        self.stopped = True


@dataclass
class _Runner:
    """A JobRunner that carries out jobs as soon as they are started."""

    count: int = 2
    started: list[_Running] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return sum(not each.stopped for each in self.started) >= self.count

    def start(self, job: Job) -> _Running:
        messages: list[Message | Exception | None] = []
        try:
            messages.append(job.run(messages.append))
        except EvaluationFailed as failure:
            messages.append(failure)
        messages.insert(1, None)
        self.started.append(_Running(messages))
        return self.started[-1]


def test_the_evaluation_of_a_job_follows_its_progress() -> None:
    reports: list[Progress] = []
    runner = _Runner()
    (evaluation,) = _results(carried_out(FakeJob(loss=2.0, steps=3), runner, reports.append))
    assert [each.text for each in reports] == ["step 1", "step 2", "step 3"]
    assert evaluation == Evaluation(
        scores=(Score(name="loss", value=2.0, unit="bits/byte"),), seconds=1.0
    )
    assert runner.started[0].stopped


def test_a_report_that_raises_stops_the_job() -> None:
    class StoppedByTest(Exception):
        pass

    def stop(_: Progress) -> None:
        raise StoppedByTest

    runner = _Runner()
    with pytest.raises(StoppedByTest):
        _results(carried_out(FakeJob(), runner, stop))
    assert runner.started[0].stopped


def test_the_failure_of_a_job_is_raised_where_its_work_waits() -> None:
    failures = []

    def work() -> Work[None]:
        try:
            yield from carried_out(FakeJob(ending="diverged"), _Runner(), lambda _: None)
        except EvaluationFailed as failure:
            failures.append(failure.kind)

    _work_through(work())
    assert failures == ["diverged"]


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_never_more_than_allowed_is_unfinished_and_all_of_it_ends(most: int) -> None:
    generator = random.Random(most)
    unfinished: set[int] = set()
    ended: list[int] = []
    largest = 0

    def work(number: int) -> Work[None]:
        nonlocal largest
        unfinished.add(number)
        largest = max(largest, len(unfinished))
        for _ in range(generator.randrange(4)):
            yield from _waiting_for_a_job()
        while any(other < number for other in unfinished) and generator.random() < 0.5:
            yield None
        unfinished.remove(number)
        ended.append(number)

    numbers = iter(range(20))

    def begin() -> Work[None] | None:
        number = next(numbers, None)
        return None if number is None else work(number)

    work_concurrently(begin, most, Interrupts())
    assert sorted(ended) == list(range(20))
    assert largest == most


def test_a_job_waits_until_its_runner_is_free() -> None:
    runner, texts, losses = _Runner(count=1), list[str](), list[float]()

    def work(loss: float) -> Work[None]:
        evaluation = yield from carried_out(
            FakeJob(loss=loss), runner, lambda progress: texts.append(progress.text)
        )
        losses.append(evaluation.scores[0].value)

    _work_through(work(1.0), work(2.0), work(3.0))
    assert losses == [1.0, 2.0, 3.0]
    assert texts.count("waiting for its turn") == 2


def test_work_that_waits_for_other_work_continues_when_that_has_ended() -> None:
    done: list[str] = []

    def first() -> Work[None]:
        yield from _waiting_for_a_job()
        done.append("first")

    def second() -> Work[None]:
        while not done:
            yield None
        done.append("second")

    _work_through(second(), first(), second())
    assert done == ["first", "second", "second"]


def test_an_exception_closes_all_other_work_and_is_raised() -> None:
    closed: list[str] = []

    def other(name: str) -> Work[None]:
        try:
            while True:
                yield from _waiting_for_a_job()
        except GeneratorExit:
            closed.append(name)
            raise

    def failing() -> Work[None]:
        yield from _waiting_for_a_job()
        raise KeyError("requested by the test")

    with pytest.raises(KeyError, match="requested by the test"):
        _work_through(other("a"), other("b"), failing())
    assert sorted(closed) == ["a", "b"]


def test_an_exception_of_closed_work_prevents_no_other_from_being_closed() -> None:
    closed: list[str] = []

    def other(name: str) -> Work[None]:
        try:
            while True:
                yield from _waiting_for_a_job()
        finally:
            closed.append(name)
            raise ValueError(name)

    def failing() -> Work[None]:
        yield from _waiting_for_a_job()
        raise KeyError("requested by the test")

    with pytest.raises((KeyError, ValueError)):
        _work_through(other("a"), other("b"), failing())
    assert sorted(closed) == ["a", "b"]


def test_ctrl_c_is_raised_while_all_work_waits() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    closed = []
    readable, writable = os.pipe()

    class Silent(_Running):
        def fileno(self) -> int:
            return readable

    def endless() -> Work[None]:
        try:
            yield Silent([])
        except GeneratorExit:
            closed.append(True)
            raise

    interrupts = Interrupts()
    threading.Thread(target=_press_later, args=[threading.get_ident()]).start()
    try:
        with pytest.raises(KeyboardInterrupt), interrupts.deferred():
            _work_through(endless(), interrupts=interrupts)
    finally:
        signal.signal(signal.SIGINT, before)
        os.close(readable)
        os.close(writable)
    assert closed == [True]


def _press_later(thread: int) -> None:
    time.sleep(0.3)
    signal.pthread_kill(thread, signal.SIGINT)


def _waiting_for_a_job() -> Work[None]:
    yield from carried_out(FakeJob(steps=0), _Runner(), lambda _: None)


def _results(work: Work[Evaluation]) -> list[Evaluation]:
    results = []

    def kept() -> Work[None]:
        results.append((yield from work))

    _work_through(kept())
    return results


def _work_through(*works: Work[None], interrupts: Interrupts | None = None) -> None:
    left: Iterator[Work[None]] = iter(works)
    work_concurrently(lambda: next(left, None), len(works), interrupts or Interrupts())
