"""Tests of which databases are opened or refused, and that a refusal changes nothing."""

import os
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from studies.storage import schema
from studies.storage.store import Store


def _refused(url: str, *, create: bool = True) -> str:
    with pytest.raises(ValueError, match=r"^storage: ") as caught:
        Store.open(url, create=create)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def _foreign_file(path: Path) -> bytes:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE birds (name TEXT)")
    connection.commit()
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("study.db", "is not a database URL"),
        ("mysql://me@host/study", "is not a database of SQLite or PostgreSQL"),
        ("sqlite:///", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("sqlite:///{folder}/none/study.db", "a folder that does not exist, '{folder}/none'"),
        ("sqlite:///{folder}", "is a folder"),
        ("sqlite:////dev/zero", "is not a regular file"),
        ("sqlite:///a\0b.db", "contains a character that cannot be displayed"),
        ("sqlite:///" + "a" * 400, "a database URL of 410 characters exceeds 300"),
        ("postgresql://u:p@h:notaport/x", "the given text is not a database URL"),
        ("postgresql://127.0.0.1:1/study", "cannot be opened: connection"),
        ("postgresql+psycopg2://127.0.0.1/study", "is not a database of SQLite or PostgreSQL"),
    ],
)
def test_refuses_unsuitable_urls_in_one_sentence(tmp_path: Path, url: str, words: str) -> None:
    assert words.format(folder=tmp_path) in _refused(url.format(folder=tmp_path))


@pytest.mark.parametrize("slashes", ["://", ":/", ""])
def test_shows_no_password(slashes: str) -> None:
    assert "secret" not in _refused(f"postgresql{slashes}me:secret@127.0.0.1:1/study")


def test_creates_no_file_without_create(tmp_path: Path) -> None:
    assert "does not exist" in _refused(f"sqlite:///{tmp_path}/study.db", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("create", [True, False])
def test_a_link_to_itself_is_refused(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "study.db"
    path.symlink_to(path)
    assert "too many levels of symbolic links" in _refused(f"sqlite:///{path}", create=create)


@pytest.mark.parametrize("content", [b"# A diary\n", b"SQLite format 3\0 and no more"])
def test_leaves_alone_a_file_that_is_not_sqlite(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "diary.md"
    path.write_bytes(content)
    assert "is not a SQLite database" in _refused(f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_leaves_alone_the_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "birds.db"
    content = _foreign_file(path)
    assert "another program: it holds a table 'birds'" in _refused(f"sqlite:///{path}")
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_creates_no_tables_without_create(postgresql_url: str) -> None:
    for _ in range(2):
        assert "holds no study" in _refused(postgresql_url, create=False)


def test_refuses_a_database_with_tables_of_ours_and_of_another_program(url: str) -> None:
    Store.open(url).close()
    _execute(url, "CREATE TABLE birds (name TEXT)")
    assert "another program: it holds a table 'birds'" in _refused(url)


def test_opens_a_database_that_optuna_created(url: str) -> None:
    optuna = pytest.importorskip("optuna")
    storage = optuna.storages.RDBStorage(_driver(url))
    storage.create_new_study([optuna.study.StudyDirection.MINIMIZE] * 2, "theirs")
    storage.remove_session()
    storage.engine.dispose()
    with Store.open(url) as store:
        store.add_study("ours", "{}")
    with Store.open(url) as store:
        assert [study.name for study in store.studies()] == ["ours"]
        assert [study.study_name for study in store.optuna_storage().get_all_studies()] == [
            "theirs"
        ]


def test_opens_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "study.db").touch()
    with Store.open(f"sqlite:///{tmp_path}/study.db") as store:
        assert store.studies() == ()


@pytest.mark.parametrize("name", ["a b.db", "{braces}.db", "100%.db", "größe?.db"])
def test_opens_files_with_unusual_names(tmp_path: Path, name: str) -> None:
    url = sa.URL.create("sqlite", database=str(tmp_path / name)).render_as_string()
    with Store.open(url) as store:
        store.add_study("ours", "{}")
        store.optuna_storage()
    assert (tmp_path / name).exists()


def test_refuses_tables_of_a_newer_release(url: str) -> None:
    Store.open(url).close()
    _execute(url, "UPDATE nas_version SET version = 99")
    assert "has tables of version 99" in _refused(url)


def test_refuses_tables_of_ours_without_a_version(url: str) -> None:
    Store.open(url).close()
    _execute(url, "DELETE FROM nas_version")
    assert "is damaged" in _refused(url)


def test_concurrent_openings_of_a_new_database_all_succeed(url: str) -> None:
    def open_it(number: int) -> None:
        with Store.open(url) as store:
            store.add_study("ours", "{}")
            store.optuna_storage().get_all_studies()

    with ThreadPoolExecutor(6) as pool:
        assert len(list(pool.map(open_it, range(6)))) == 6


def test_a_file_survives_a_crash_and_waits_for_other_writers(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store:
        for engine in (store._database.engine, store.optuna_storage().engine):
            with engine.connect() as connection:
                pragmas = {
                    name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                    for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
                }
            assert pragmas == {
                "journal_mode": "wal",
                "synchronous": 2,  # FULL: a power failure loses no commit
                "busy_timeout": 1_000,  # `Outages` has the rest of the patience
                "foreign_keys": 1,
            }


def test_says_that_psycopg_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "requires psycopg" in _refused("postgresql://127.0.0.1:1/study")


@pytest.mark.parametrize("mode", [0o500, 0o400])
def test_says_that_a_user_may_not_write(tmp_path: Path, mode: int) -> None:
    """Root may do anything, so tests that run as root drop the right to ignore file modes."""
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "study.db"
    if mode == 0o400:
        Store.open(f"sqlite:///{path}").close()
        path.chmod(0o444)
        folder.chmod(0o555)
    else:
        folder.chmod(mode)
    code = f"from studies.storage.store import Store\nStore.open('sqlite:///{path}')"
    command = [sys.executable, "-c", code]
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not installed")
        # Another user could not enter pytest's own temporary folders, whose modes every pytest
        # process on the machine tightens when it starts.
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: storage: ")
    assert "by this user" in last
    folder.chmod(0o755)


def _driver(url: str) -> str:
    return url.replace("postgresql:", "postgresql+psycopg:")


def _execute(url: str, statement: str) -> None:
    engine = sa.create_engine(_driver(url))
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def test_our_tables_have_our_prefix() -> None:
    assert all(name.startswith("nas_") for name in schema.METADATA.tables)
