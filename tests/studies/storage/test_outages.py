"""How transactions survive that the database cannot be reached."""

import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from studies.storage import outages as outages_module
from studies.storage.database import StorePart
from studies.storage.outages import DatabaseUnavailable, Outages, outage_reason
from studies.storage.store import Store


def locked() -> sa.exc.OperationalError:
    """Return the error of a real SQLite file that is locked."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "locked.db"
        holder = sqlite3.connect(file, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        engine = sa.create_engine(f"sqlite:///{file}", connect_args={"timeout": 0})
        try:
            with engine.begin() as connection, pytest.raises(sa.exc.OperationalError) as raised:
                connection.exec_driver_sql("CREATE TABLE t (x)")
        finally:
            engine.dispose()
            holder.close()
    return raised.value


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(outages_module, "time", fake)
    return fake


@pytest.fixture
def outages() -> Outages:
    return Outages("'sqlite:///x.db'", on_outage=lambda: None)


def failing_until(time: FakeTime, end: float, error: Exception) -> Callable[[], str]:
    def work() -> str:
        if time.now < end:
            raise error
        return "done"

    return work


def test_a_transaction_is_repeated_until_the_database_answers(
    outages: Outages, time: FakeTime
) -> None:
    said: list[str] = []
    with outages.waiting_long(said.append, lambda: None):
        assert outages.survive(failing_until(time, 300.0, locked())) == "done"
    assert 300 <= time.now < 306
    assert said[0] == ("the database is locked by another program; trying again for up to 10 min")
    assert len(said) == 2
    assert said[1] == f"the database answers again after {time.now:.0f} s"


def test_a_short_outage_is_not_reported(outages: Outages, time: FakeTime) -> None:
    said: list[str] = []
    with outages.waiting_long(said.append, lambda: None):
        outages.survive(failing_until(time, 0.5, locked()))
    assert said == []


def test_patience_ends(outages: Outages, time: FakeTime) -> None:
    with pytest.raises(DatabaseUnavailable) as raised:
        outages.survive(failing_until(time, 1e9, locked()))
    assert 30 <= time.now < 31
    assert str(raised.value) == (
        "storage: 'sqlite:///x.db' is locked by another program, and did not recover within 30 s; "
        "what was stored before is safe, and the same command continues"
    )


def test_a_process_that_ends_does_not_wait(outages: Outages, time: FakeTime) -> None:
    with outages.not_waiting():
        outages.survive(failing_until(time, 1e9, locked()))
    assert time.now == 0.0
    assert outages.patience_s == 30.0


def test_ctrl_c_ends_the_wait(outages: Outages, time: FakeTime) -> None:
    def check() -> None:
        if time.now > 100.0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), outages.waiting_long(lambda text: None, check):
        outages.survive(failing_until(time, 1e9, locked()))
    assert time.now < 101.0


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), sa.exc.IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE"))],
)
def test_any_other_error_is_raised_at_once(outages: Outages, error: Exception) -> None:
    attempts = []

    def work() -> None:
        attempts.append(1)
        raise error

    with pytest.raises(type(error)):
        outages.survive(work)
    assert len(attempts) == 1


def test_a_transaction_knows_that_it_is_repeated(outages: Outages, time: FakeTime) -> None:
    seen = []

    def work() -> None:
        seen.append(outages.is_repeating)
        if len(seen) < 3:
            raise locked()

    outages.survive(work)
    assert seen == [False, True, True]
    assert not outages.is_repeating


def test_every_method_with_a_transaction_is_repeated() -> None:
    """Apart from those of the thread that gives signs of life, which has the next one to give."""
    parts = [StorePart, *StorePart.__subclasses__()]
    methods = {
        f"{part.__name__}.{name}": method
        for part in parts
        for name, method in vars(part).items()
        if callable(method) and not name.startswith("_")
    }
    plain = {name for name, method in methods.items() if not hasattr(method, "__wrapped__")}
    assert plain <= {"StudyWriter.report", "StudyWriter.beat", "StudyWriter.judge"} | {
        name for name in plain if "_database" not in methods[name].__code__.co_names
    }
    assert len(methods) > 20


@pytest.mark.parametrize(
    ("code", "is_outage"),
    [
        ("57P01", True),  # the administrator ends the connection
        ("57P03", True),  # the server is starting
        ("08006", True),
        ("40001", True),
        ("53300", True),  # too many connections
        ("28P01", False),  # the password is wrong
        ("42P01", False),  # a table is missing
        ("53100", False),  # the disk is full
    ],
)
def test_which_errors_of_postgresql_are_outages(code: str, is_outage: bool) -> None:
    kind = psycopg.errors.lookup(code)
    error = sa.exc.DBAPIError.instance("SELECT", {}, kind("it\nfails"), psycopg.Error)
    assert (outage_reason(error) is not None) == is_outage
    if is_outage:
        assert outage_reason(error) == "does not answer (it)"


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[tuple[str, sqlite3.Connection]]:
    path = tmp_path / "study.db"
    Store.open(f"sqlite:///{path}").close()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    yield f"sqlite:///{path}", connection
    connection.close()


def test_a_locked_file_is_waited_for(
    lock: tuple[str, sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # in real time
    url, connection = lock
    with Store.open(url) as store:
        store.add_study("ours", "{}")
        connection.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(2.5, connection.execute, ["COMMIT"])
        timer.start()
        assert not store.beat()  # gives up at once
        trial = store.claim("ours", total=1)
        timer.join()
        assert trial is not None
        assert trial.number == 0
