"""Tests that nothing is lost if the file of the database is deleted or replaced during use."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from studies.storage.integrity import check_database
from studies.storage.store import Store
from studies.storage.watched_file import DatabaseGone
from tests.studies.storage.sound_database import write_database


def _delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()


def _names(path: Path) -> list[str]:
    with Store.open_to_read(f"sqlite:///{path}") as store:
        return [study.name for study in store.studies()]


def test_the_write_that_notices_is_in_the_rescued_file(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with Store.open(write_database(path)) as store:
        store.add_study("before", "{}")
        _delete(path)
        assert [study.name for study in store.studies()] == ["small", "before"]
        with pytest.raises(
            DatabaseGone, match=r"was deleted or replaced .*'.*study-rescued-1\.db'"
        ):
            store.add_study("after", "{}")
        assert _names(tmp_path / "study-rescued-1.db") == ["small", "before", "after"]
        with pytest.raises(DatabaseGone, match="study-rescued-1"):
            store.add_study("later", "{}")
    assert not path.exists()
    assert _names(tmp_path / "study-rescued-1.db") == ["small", "before", "after", "later"]
    assert not (tmp_path / "study-rescued-2.db").exists()


def test_the_rescued_file_is_sound_and_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    (tmp_path / "study-rescued-1.db").write_text("mine")
    with Store.open(write_database(path)) as store:
        _delete(path)
        with pytest.raises(DatabaseGone, match="study-rescued-2"):
            store.update_spec("small", store.study("small").spec)
    assert (tmp_path / "study-rescued-1.db").read_text() == "mine"
    assert check_database(f"sqlite:///{tmp_path}/study-rescued-2.db").damage == ()


def test_a_replacement_is_not_written_to(tmp_path: Path) -> None:
    path, other = tmp_path / "study.db", tmp_path / "other.db"
    write_database(other, 1)
    content = other.read_bytes()
    with Store.open(write_database(path)) as store:
        other.replace(path)
        with pytest.raises(DatabaseGone):
            store.add_study("after", "{}")
        with pytest.raises(DatabaseGone):
            store.optuna_storage()
    assert path.read_bytes() == content
    assert _names(tmp_path / "study-rescued-1.db") == ["small", "after"]


def test_a_deleted_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with Store.open(write_database(folder / "study.db")) as store:
        _delete(folder / "study.db")
        folder.rmdir()
        with pytest.raises(DatabaseGone):
            store.add_study("after", "{}")
    assert _names(elsewhere / "study-rescued-1.db") == ["small", "after"]


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def _leave_a_pipe(path: Path) -> None:
    os.mkfifo(path)


def _put_a_file_in_place_of_the_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("mine")


@pytest.mark.parametrize(
    "replace", [_link_to_itself, _leave_a_pipe, _put_a_file_in_place_of_the_folder]
)
def test_what_is_no_database_does_not_prevent_the_rescue(
    replace: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "folder" / "study.db"
    path.parent.mkdir()
    with Store.open(write_database(path)) as store:
        _delete(path)
        replace(path)
        with pytest.raises(DatabaseGone, match="rename it to resume"):
            store.add_study("after", "{}")
    (rescued,) = tmp_path.rglob("study-rescued-1.db")
    assert _names(rescued) == ["small", "after"]


def test_a_deleted_working_folder_does_not_prevent_the_rescue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = tmp_path / "work", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(other))
    monkeypatch.chdir(folder)
    with Store.open(write_database(folder / "study.db")) as store:
        shutil.rmtree(folder)
        with pytest.raises(DatabaseGone, match="rename it to resume"):
            store.add_study("after", "{}")
    assert _names(other / "study-rescued-1.db") == ["small", "after"]


def test_a_file_that_stays_is_not_reported(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with Store.open(write_database(path)) as store:
        store.add_study("one", "{}")
        connection = sqlite3.connect(path)
        connection.execute("UPDATE nas_studies SET spec = '{ }' WHERE name = 'one'")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        store.add_study("two", "{}")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["study.db"]
