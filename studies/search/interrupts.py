"""Ctrl-C when it does no harm: at once while an evaluator works, else as soon as all is stored."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Holds Ctrl-C back, except where it is let through; a second one is never held back.

    An exception that comes out of nowhere is lost in many places (in a callback of the garbage
    collector it is printed and forgotten), and in others it leaves a transaction open for which
    the next one would wait in vain.
    """

    def __init__(self) -> None:
        self._through = False
        self._pending = False

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Raises KeyboardInterrupt at the end if one came and was not let through before.

        Nothing is held back outside the main thread, or where the program has a handler of its own.
        """
        if (
            threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        ):
            yield
            return
        signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.check()

    def check(self) -> None:
        """Raises the KeyboardInterrupt that was held back, if there is one."""
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Here KeyboardInterrupt is raised wherever the program happens to be."""
        with self._switched(through=True):
            yield

    @contextmanager
    def held_back_again(self) -> Iterator[None]:
        """Inside of `let_through`."""
        with self._switched(through=False):
            yield
        self.check()

    @contextmanager
    def _switched(self, *, through: bool) -> Iterator[None]:
        before = self._through
        try:
            self._through = through
            if through:
                self.check()
            yield
        finally:
            self._through = before

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        if self._through or self._pending:
            self._pending = False
            raise KeyboardInterrupt
        self._pending = True
