"""When Ctrl-C is raised, and what finishes before it is."""

# ruff: noqa: PT012 - the tests are about what runs after the key press and what does not

import signal
import threading
from collections.abc import Iterator

import pytest

from studies.search.interrupts import Interrupts


@pytest.fixture(autouse=True)
def default_handler() -> Iterator[None]:
    """Install Python's default handler, whatever handler the test runner has set."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def _press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_it_is_deferred_until_everything_is_stored() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), Interrupts().deferred():
        _press()
        done.append("stored")
    assert done == ["stored"]


def test_it_is_raised_at_once_in_an_immediate_block() -> None:
    interrupts, done = Interrupts(), []
    with pytest.raises(KeyboardInterrupt), interrupts.deferred(), interrupts.immediate():
        _press()
        done.append("trained")
    assert done == []


def test_a_deferred_one_is_raised_at_the_start_of_an_immediate_block() -> None:
    interrupts, done = Interrupts(), []
    with pytest.raises(KeyboardInterrupt), interrupts.deferred():
        _press()
        done.append("stored")
        with interrupts.immediate():
            done.append("trained")
    assert done == ["stored"]


def test_it_is_deferred_until_the_end_of_a_report_and_no_longer() -> None:
    interrupts, done = Interrupts(), []
    with pytest.raises(KeyboardInterrupt), interrupts.deferred(), interrupts.immediate():
        with interrupts.deferred_again():
            _press()
            done.append("reported")
        done.append("trained")
    assert done == ["reported"]


def test_a_second_one_is_not_deferred() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), Interrupts().deferred():
        _press()
        done.append("stored")
        _press()
        done.append("stored more")
    assert done == ["stored"]


def test_another_error_is_not_replaced() -> None:
    with pytest.raises(RuntimeError), Interrupts().deferred():
        _press()
        raise RuntimeError


def test_a_handler_of_the_program_stays_installed() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    with Interrupts().deferred():
        _press()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert heard == [signal.SIGINT]


def test_nothing_changes_outside_the_main_thread() -> None:
    done = []

    def work() -> None:
        interrupts = Interrupts()
        with interrupts.deferred(), interrupts.immediate(), interrupts.deferred_again():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.default_int_handler]
