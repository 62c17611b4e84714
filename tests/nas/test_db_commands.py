"""Tests of `nas db`, and of commands on databases that are damaged or cannot be written."""

import json
from pathlib import Path

import pytest

from tests.studies.storage.sound_database import execute, write_database


def test_a_sound_database_passes_the_check(nas_process, tmp_path: Path) -> None:
    write_database(tmp_path / "nas.db")
    checked = nas_process("db", "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith("sound: ")
    document = json.loads(nas_process("db", "check", "--json").stdout)
    assert document["sound"] is True
    assert (document["damage"], document["remarks"]) == ([], [])
    assert document["rows"]["nas_trials"] == 17


def test_damage_is_listed_and_the_exit_code_is_2(nas, tmp_path: Path) -> None:
    url = write_database(tmp_path / "study.db")
    execute(tmp_path / "study.db", "UPDATE nas_trials SET curve = 'x' WHERE id = 3")
    checked = nas("db", "check", "--storage", url)
    assert checked.returncode == 2
    assert "damaged: nas_trials, row id=3: curve 'x' cannot be decoded" in checked.stdout
    assert checked.stderr.startswith("nas: storage: the database is damaged (1 fault)")
    assert checked.stderr.count("\n") == 1
    checked = nas("db", "check", "--json", "--storage", url)
    assert json.loads(checked.stdout)["sound"] is False
    assert checked.returncode == 2


def test_a_backup_is_written_once(nas, tmp_path: Path) -> None:
    write_database(tmp_path / "nas.db")
    assert nas("db", "backup", "copy.db").returncode == 0
    again = nas("db", "backup", "copy.db")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "nas: file: 'copy.db' already exists; --force overwrites it\n"
    assert nas("db", "backup", "copy.db", "--force").returncode == 0
    copy = nas("status", "small", "--json", "--storage", "sqlite:///copy.db")
    assert copy.stdout == nas("status", "small", "--json").stdout


def test_a_missing_database_is_reported_in_one_sentence(nas) -> None:
    for command in (("check",), ("backup", "copy.db")):
        refused = nas("db", *command)
        assert refused.returncode == 2
        assert "does not exist" in refused.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("status", "small"),
        ("pareto", "small"),
        ("show", "small", "1"),
        ("report", "small"),
        ("export", "small", "1"),
        ("confirm", "small"),
        ("dashboard", "--no-open"),
        ("db", "backup", "copy.db"),
    ],
)
def test_every_command_reports_a_damaged_file_in_one_sentence(
    nas, tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = tmp_path / "nas.db"
    write_database(path)
    content = bytearray(path.read_bytes())
    content[100:] = bytes(len(content) - 100)
    path.write_bytes(content)
    refused = nas(*command)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("nas: storage: 'sqlite:///nas.db' ")
    assert refused.stderr.count("\n") == 1
    # SQLite creates these two to read, and leaves them if it cannot.
    left = {"nas.db", "nas.db-shm", "nas.db-wal"}
    assert {each.name for each in tmp_path.iterdir()} <= left


def test_escape_sequences_in_the_database_do_not_reach_the_terminal(nas, tmp_path: Path) -> None:
    write_database(tmp_path / "nas.db")
    execute(
        tmp_path / "nas.db",
        "UPDATE nas_trials SET reason = char(27) || ']0;owned' || char(7) WHERE state = 'failed'",
    )
    shown = nas("status", "small")
    assert shown.returncode == 0
    assert "owned" in shown.stdout
    assert not set(shown.stdout) & {"\x1b", "\x07"}
