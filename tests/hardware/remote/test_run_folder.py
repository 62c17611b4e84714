"""Folders of agents that start and end at the same time."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hardware.remote.run_folder import delete_run_folder, make_run_folder

# Every folder must stay complete for as long as its process has it.
AGENT = """
import sys
from pathlib import Path
from hardware.remote.run_folder import delete_run_folder, make_run_folder

for _ in range(100):
    folder = make_run_folder(Path(sys.argv[1]))
    (folder / "0").mkdir()
    (folder / "0" / "model.onnx").write_text("content")
    assert (folder / "0" / "model.onnx").read_text() == "content"
    assert (folder / "lock").exists()
    delete_run_folder(folder)
    assert not folder.exists()
"""


def test_agents_that_start_at_the_same_time_keep_their_folders(tmp_path):
    command = [sys.executable, "-c", AGENT, str(tmp_path)]
    agents = [subprocess.Popen(command) for _ in range(4)]
    assert [agent.wait() for agent in agents] == [0] * 4
    assert list(tmp_path.iterdir()) == []


def test_what_no_running_process_has_locked_is_deleted(tmp_path):
    stale = tmp_path / "4711"
    (stale / "0").mkdir(parents=True)
    (stale / "0" / "model.onnx").write_text("content")
    half_deleted = tmp_path / "tmpabc.ended"
    half_deleted.mkdir()
    file = tmp_path / "file"
    file.write_text("")
    own = make_run_folder(tmp_path)
    assert set(tmp_path.iterdir()) == {own, file}
    assert own.stat().st_mode & 0o777 == 0o700


def test_a_link_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("content")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "link").symlink_to(elsewhere)
    make_run_folder(runs)
    assert (elsewhere / "file").read_text() == "content"


def test_without_locks_nobody_else_is_disturbed(tmp_path, monkeypatch):
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    folders = [make_run_folder(tmp_path) for _ in range(3)]
    assert set(tmp_path.iterdir()) == set(folders)


def test_a_folder_is_deleted_while_files_are_created_in_it(tmp_path):
    own = make_run_folder(tmp_path)
    is_deleted = threading.Event()

    def write() -> None:
        number = 0
        while not is_deleted.is_set():
            number += 1
            try:
                Path(own, str(number)).write_text("content")
            except OSError:
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        delete_run_folder(own)
    finally:
        is_deleted.set()
        writer.join()
    assert not own.exists()


def test_a_parent_that_cannot_be_created_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        make_run_folder(tmp_path / "missing" / "runs")
