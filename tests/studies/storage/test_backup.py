"""Tests of backups."""

import os
import resource
import signal
import sqlite3
import threading
from pathlib import Path

import pytest

from studies.storage.backup import back_up
from studies.storage.store import Store
from tests.studies.storage.sound_database import write_database


def _dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    dump = list(connection.iterdump())
    connection.close()
    return dump


def test_a_backup_contains_what_is_only_in_the_log(tmp_path: Path) -> None:
    url = write_database(tmp_path / "study.db")
    with Store.open(url) as store:  # while it is open, the log is not merged
        store.add_study("later", "{}")
        back_up(url, tmp_path / "copy.db", overwrite=False)
        assert _dump(tmp_path / "copy.db") == _dump(tmp_path / "study.db")
    with Store.open(f"sqlite:///{tmp_path}/copy.db") as copy:
        assert [study.name for study in copy.studies()] == ["small", "later"]


def test_a_backup_next_to_a_writer_is_consistent_and_does_not_stop_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    stop = threading.Event()
    written: list[str] = []

    def write() -> None:
        with Store.open(url) as store:
            while not stop.is_set():
                name = f"s{len(written)}"
                store.add_study(name, "x" * 5_000)
                written.append(name)

    Store.open(url).close()
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            before = len(written)
            back_up(url, tmp_path / f"{number}.db", overwrite=False)
            with Store.open_to_read(f"sqlite:///{tmp_path}/{number}.db") as copy:
                names = [study.name for study in copy.studies()]
            assert names == [f"s{n}" for n in range(len(names))]
            assert len(names) >= before
    finally:
        stop.set()
        writer.join()
    assert written


def test_an_existing_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    url = write_database(tmp_path / "study.db")
    target = tmp_path / "copy.db"
    target.write_text("mine")
    with pytest.raises(ValueError, match=r"already exists; --force overwrites it$"):
        back_up(url, target, overwrite=False)
    assert target.read_text() == "mine"
    back_up(url, target, overwrite=True)
    assert _dump(target) == _dump(tmp_path / "study.db")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".nas")]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none/copy.db", "is in a folder that does not exist"),
        ("study.db", "is the database itself"),
        ("pipe", "is not a regular file"),
        (".", "is not a regular file"),
    ],
)
def test_unsuitable_files_are_refused(tmp_path: Path, name: str, words: str) -> None:
    url = write_database(tmp_path / "study.db")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=words):
        back_up(url, tmp_path / name, overwrite=True)


def test_a_full_disk_of_the_copy_is_not_taken_for_that_of_the_database(tmp_path: Path) -> None:
    url = write_database(tmp_path / "study.db")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # To a program, a disk that fills up. The index of the log of the database takes 32 KiB.
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"file: '.*copy.db' cannot be written; the disk is"):
            back_up(url, tmp_path / "copy.db", overwrite=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert not (tmp_path / "copy.db").exists()
    assert not list(tmp_path.glob(".nas-*"))


def test_a_postgresql_database_is_left_to_pg_dump(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(ValueError, match="back it up with pg_dump"):
        back_up("postgresql://127.0.0.1:1/study", tmp_path / "copy.db", overwrite=False)
