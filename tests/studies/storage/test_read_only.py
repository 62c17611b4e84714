"""Tests that a database can be read without the permission to write next to it."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studies.storage.store import Store
from tests.studies.storage.sound_database import write_database

_READ = """
from studies.analysis import summaries
from studies.storage.store import Store
with Store.open_to_read({url!r}, update=True) as store:
    print(summaries.status(store, "small").counts.ended, len(store.studies()))
"""
Reader = Callable[[Path], str]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Read a database in a process that obeys file modes, which root need not.

    It returns the number of ended candidates and the number of studies.
    """

    def read_it(path: Path) -> str:
        command = [sys.executable, "-c", _READ.format(url=f"sqlite:///{path}")]
        if os.getuid() == 0:
            if shutil.which("setpriv") is None:
                pytest.skip("setpriv is not installed")
            command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=Path(__file__).parents[3]
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return read_it


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is made writable again in the end, so that it can be deleted."""
    folder = tmp_path / "folder"
    folder.mkdir()
    yield folder
    folder.chmod(0o755)


def _protect(folder: Path) -> list[str]:
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    return sorted(path.name for path in folder.iterdir())


def test_a_database_without_a_log(folder: Path, read: Reader) -> None:
    write_database(folder / "study.db")
    names = _protect(folder)
    assert names == ["study.db"]
    assert read(folder / "study.db") == "16 1"
    assert sorted(path.name for path in folder.iterdir()) == names


def test_a_log_without_an_index_is_not_ignored(folder: Path, tmp_path: Path, read: Reader) -> None:
    with Store.open(write_database(tmp_path / "study.db")) as store:
        store.add_study("in-the-log", "{}")
        for suffix in ("", "-wal"):  # as after the death of the process
            shutil.copy(tmp_path / f"study.db{suffix}", folder)
    _protect(folder)
    assert read(folder / "study.db") == "16 2"


def test_next_to_a_writer(folder: Path, read: Reader) -> None:
    with Store.open(write_database(folder / "study.db")) as store:
        store.add_study("in-the-log", "{}")
        assert {"study.db-shm", "study.db-wal"} <= set(_protect(folder))
        assert read(folder / "study.db") == "16 2"


@pytest.mark.parametrize("version", [1, 4])
def test_tables_of_an_older_release(folder: Path, read: Reader, version: int) -> None:
    path = folder / "study.db"
    write_database(path, version)
    before = path.read_bytes()
    _protect(folder)
    assert read(path) == "16 1"
    assert path.read_bytes() == before


def test_tables_of_an_older_release_are_updated_in_a_folder_that_can_be_written(
    tmp_path: Path,
) -> None:
    url = write_database(tmp_path / "study.db", 1)
    with pytest.raises(ValueError, match="older release; `nas status STUDY` updates them"):
        Store.open_to_read(url)
    with Store.open_to_read(url, update=True) as store:
        assert [study.name for study in store.studies()] == ["small"]
    Store.open_to_read(url).close()


def test_nothing_can_be_written(tmp_path: Path) -> None:
    url = write_database(tmp_path / "study.db")
    with (
        Store.open_to_read(url) as store,
        pytest.raises(ValueError, match="cannot be written by this user, or is on a read-only"),
    ):
        store.add_study("ours", "{}")
    connection = sqlite3.connect(tmp_path / "study.db")
    assert connection.execute("SELECT count(*) FROM nas_studies").fetchone() == (1,)
    connection.close()
