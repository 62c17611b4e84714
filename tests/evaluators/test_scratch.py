"""Temporary folders: removed by their process, or by a later one if it was killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from evaluators.scratch import scratch_folder

HOLD = """
from evaluators.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "weights").write_bytes(b"many")
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def hold() -> tuple[subprocess.Popen[str], Path]:
    """Start a process with a scratch folder, and make the folder look an hour old."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HOLD], text=True, **pipes)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    hour_ago = time.time() - 3600
    os.utime(folder, (hour_ago, hour_ago))
    return process, folder


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_the_folder_is_removed_at_the_end_even_after_an_error():
    with pytest.raises(RuntimeError), scratch_folder() as folder:  # noqa: PT012 - the whole context
        (folder / "weights").write_bytes(b"many")
        raise RuntimeError
    assert not folder.exists()


def test_the_folder_of_a_killed_process_is_removed_by_the_next_process():
    process, left = hold()
    end(process)
    assert (left / "weights").exists()
    with scratch_folder():
        assert not left.exists()


def test_a_folder_of_a_running_process_is_kept():
    process, held = hold()
    with scratch_folder():
        assert (held / "weights").exists()
    end(process)


def test_a_young_folder_is_kept_because_its_owner_may_not_have_locked_it_yet(temporary):
    young = temporary / "nas-model-young"
    young.mkdir()
    with scratch_folder():
        assert young.exists()


def test_links_are_not_followed(temporary):
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "important").write_text("kept")
    (temporary / "nas-model-link").symlink_to(elsewhere)
    hour_ago = time.time() - 3600
    os.utime(elsewhere, (hour_ago, hour_ago))
    with scratch_folder():
        assert (elsewhere / "important").exists()
