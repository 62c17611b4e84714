"""When Ctrl-C is heard, and what is still done before it is."""

# ruff: noqa: PT012 - what comes after the key press, or does not, is the point

import signal
import threading
from collections.abc import Iterator

import pytest

from studies.search.interrupts import Interrupts


@pytest.fixture(autouse=True)
def default_handler() -> Iterator[None]:
    """As in a program that has just started, whatever the one who runs the tests has set."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def _press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_it_waits_until_all_is_stored() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), Interrupts().held_back():
        _press()
        done.append("stored")
    assert done == ["stored"]


def test_it_is_heard_at_once_where_it_is_let_through() -> None:
    interrupts, done = Interrupts(), []
    with pytest.raises(KeyboardInterrupt), interrupts.held_back(), interrupts.let_through():
        _press()
        done.append("trained")
    assert done == []


def test_one_that_waited_is_heard_where_the_next_is_let_through() -> None:
    interrupts, done = Interrupts(), []
    with pytest.raises(KeyboardInterrupt), interrupts.held_back():
        _press()
        done.append("stored")
        with interrupts.let_through():
            done.append("trained")
    assert done == ["stored"]


def test_it_waits_for_a_report_and_no_longer() -> None:
    interrupts, done = Interrupts(), []
    with pytest.raises(KeyboardInterrupt), interrupts.held_back(), interrupts.let_through():
        with interrupts.held_back_again():
            _press()
            done.append("reported")
        done.append("trained")
    assert done == ["reported"]


def test_a_second_one_is_not_held_back() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), Interrupts().held_back():
        _press()
        done.append("stored")
        _press()
        done.append("stored more")
    assert done == ["stored"]


def test_another_error_is_not_replaced() -> None:
    with pytest.raises(RuntimeError), Interrupts().held_back():
        _press()
        raise RuntimeError


def test_a_programs_own_handler_stays_in_charge() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    with Interrupts().held_back():
        _press()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert heard == [signal.SIGINT]


def test_outside_the_main_thread_nothing_is_touched() -> None:
    done = []

    def work() -> None:
        interrupts = Interrupts()
        with interrupts.held_back(), interrupts.let_through(), interrupts.held_back_again():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.default_int_handler]
