"""Deferral of Ctrl-C until it does no harm: at once in an evaluation, elsewhere after storing."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Defers Ctrl-C, except where it is allowed; a second Ctrl-C is never deferred.

    An exception that is raised at an arbitrary point is lost in many places: in a callback of the
    garbage collector, for example, it is printed and discarded. In other places it leaves a
    transaction open, for which the next one would wait in vain.
    """

    def __init__(self) -> None:
        self._immediate = False
        self._pending = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer Ctrl-C until the end of the block.

        Nothing is deferred outside the main thread, or if the program has its own handler.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; raised at the end of the block unless it was
                raised before.
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
        """Raise KeyboardInterrupt if one was deferred."""
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """Raise KeyboardInterrupt at once within the block, which is inside `deferred`."""
        with self._switched(immediate=True):
            yield

    @contextmanager
    def deferred_again(self) -> Iterator[None]:
        """Defer Ctrl-C until the end of the block, which is inside `immediate`."""
        with self._switched(immediate=False):
            yield
        self.check()

    @contextmanager
    def _switched(self, *, immediate: bool) -> Iterator[None]:
        before = self._immediate
        try:
            self._immediate = immediate
            if immediate:
                self.check()
            yield
        finally:
            self._immediate = before

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        if self._immediate or self._pending:
            self._pending = False
            raise KeyboardInterrupt
        self._pending = True
