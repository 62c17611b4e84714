"""Repeats transactions while the database cannot be reached or is locked.

A server restarts, a network fails for a minute, another program locks a file: none of these ends a
search. A transaction takes effect as a whole or not at all, so it can be repeated. Only if the
connection fails during a commit is it unknown whether the transaction took effect; functions for
which that matters check `Outages.is_repeating`.
"""

import contextlib
import functools
import random
import time
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa

from hardware.progress import Say, ignore_text

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# How long commands that only read wait for a database, and how long a search does, in seconds.
READING_PATIENCE_S = 30.0
SEARCH_PATIENCE_S = 600.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_REPORTED_AFTER_S = 2.0
_CHECKED_EVERY_S = 0.2

LOCKED = "is locked by another program"
# Prefixes of the names of SQLite's errors.
_SQLITE_OUTAGES = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")
# Prefixes of PostgreSQL's error codes: connection exceptions, too many connections, interventions
# of an administrator, and rollbacks because of concurrent transactions.
_POSTGRESQL_OUTAGES = ("08", "53300", "57P", "40001", "40P01")


class DatabaseUnavailable(ValueError):
    """The database could not be reached for longer than this process was willing to wait."""


class Outages:
    """How a process waits for its database.

    Attributes:
        patience_s: Seconds after which it gives up.
        say: Receives a sentence when the wait begins, and when it ends well.
        check: Called several times per second during the wait; an exception ends it.
        on_outage: Called after a failure, because other processes could not give signs of life
            either.
        is_repeating: Whether the running transaction may have taken effect already.
    """

    def __init__(self, name: str, on_outage: Callable[[], None]) -> None:
        """Wait for a short time and report nothing, which suits commands that only read.

        Args:
            name: How messages name the database.
            on_outage: Called after a failure.
        """
        self.patience_s = READING_PATIENCE_S
        self.say: Say = ignore_text
        self.check: Callable[[], None] = _do_nothing
        self.on_outage = on_outage
        self.is_repeating = False
        self._name = name

    @contextlib.contextmanager
    def waiting_long(self, say: Say, check: Callable[[], None]) -> Iterator[None]:
        """Wait for as long as a search does, within the context.

        Args:
            say: Receives a sentence when the wait begins, and when it ends well.
            check: Called several times per second during the wait; an exception ends it.
        """
        before = self.patience_s, self.say, self.check
        self.patience_s, self.say, self.check = SEARCH_PATIENCE_S, say, check
        try:
            yield
        finally:
            self.patience_s, self.say, self.check = before

    @contextlib.contextmanager
    def not_waiting(self) -> Iterator[None]:
        """Give up at the first failure and without an error, within the context.

        This is for a process that is about to end. If it cannot release its trial, other processes
        take the trial over after its last sign of life.
        """
        before, self.patience_s = self.patience_s, 0.0
        try:
            yield
        except DatabaseUnavailable:
            pass
        finally:
            self.patience_s = before

    def attempt(self, work: Callable[[], None]) -> bool:
        """Do `work` once; return False if the database could not be reached.

        Args:
            work: A transaction that need not take effect.
        """
        try:
            work()
        except sa.exc.DBAPIError as error:
            if outage_reason(error) is None:
                raise
            self.on_outage()
            return False
        return True

    def survive(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of `work`, which is repeated while the database cannot be reached.

        Args:
            work: A transaction.

        Raises:
            DatabaseUnavailable: The database could not be reached for `patience_s` seconds.
        """
        try:
            return self._repeated(work)
        finally:
            self.is_repeating = False

    def _repeated(self, work: Callable[[], _Result]) -> _Result:
        start, pause_s, is_reported = time.monotonic(), _FIRST_PAUSE_S, False
        while True:
            try:
                result = work()
                break
            except Exception as error:
                reason = outage_reason(error)
                if reason is None:
                    raise
            self.is_repeating = True
            left_s = start + self.patience_s - time.monotonic()
            if left_s <= 0:
                raise DatabaseUnavailable(self._given_up(reason)) from None
            if left_s < self.patience_s - _REPORTED_AFTER_S and not is_reported:
                is_reported = True
                patience = _duration(self.patience_s)
                self.say(f"the database {reason}; trying again for up to {patience}")
            self._pause(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        if self.is_repeating:
            self.on_outage()
        if is_reported:
            self.say(f"the database answers again after {time.monotonic() - start:.0f} s")
        return result

    def _pause(self, seconds: float) -> None:
        # Processes that lost the same server come back at different times.
        end = time.monotonic() + seconds * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        while (left_s := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left_s, _CHECKED_EVERY_S))
        self.check()

    def _given_up(self, reason: str) -> str:
        return (
            f"storage: {self._name} {reason}, and did not recover within "
            f"{_duration(self.patience_s)}; what was stored before is safe, and the same command "
            "continues"
        )


class _HasOutages(Protocol):
    @property
    def outages(self) -> Outages: ...


_Part = TypeVar("_Part", bound=_HasOutages)


def retried(
    method: Callable[Concatenate[_Part, _Parameters], _Result],
) -> Callable[Concatenate[_Part, _Parameters], _Result]:
    """Decorate a method that is one transaction, so that it survives outages of the database."""

    @functools.wraps(method)
    def survive(part: _Part, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        return part.outages.survive(lambda: method(part, *args, **kwargs))

    return survive


def outage_reason(error: BaseException) -> str | None:
    """Return why the database does not answer, such as "is locked"; None for any other error.

    Args:
        error: What a transaction has raised. Optuna's errors have that of the database as a cause.
    """
    failed = database_error(error)
    if failed is None:
        # Optuna raises this after a failure within its own transaction.
        is_after = any(isinstance(each, sa.exc.PendingRollbackError) for each in _chain(error))
        return "does not answer (the connection was lost)" if is_after else None
    sqlite_name = getattr(failed.orig, "sqlite_errorname", None)
    if sqlite_name is not None:
        return LOCKED if sqlite_name.startswith(_SQLITE_OUTAGES) else None
    if not isinstance(failed, sa.exc.OperationalError | sa.exc.InternalError):
        return None
    code = getattr(failed.orig, "sqlstate", None)
    if code is None or code.startswith(_POSTGRESQL_OUTAGES) or failed.connection_invalidated:
        return f"does not answer ({first_line(failed.orig)})"
    return None


def database_error(error: BaseException) -> sa.exc.DBAPIError | None:
    """Return the database's error among an error and those that led to it, if there is one."""
    return next((each for each in _chain(error) if isinstance(each, sa.exc.DBAPIError)), None)


def first_line(error: BaseException | None) -> str:
    """Return the first line of an error's message, or the name of its type if there is none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that led to it, the latest first."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _do_nothing() -> None:
    return
