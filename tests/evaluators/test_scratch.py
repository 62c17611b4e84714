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
    """Another process with a scratch folder, of the kind that was made a while ago."""
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


def test_it_is_removed_at_the_end_also_after_an_error():
    with pytest.raises(RuntimeError), scratch_folder() as folder:  # noqa: PT012 - the whole context
        (folder / "weights").write_bytes(b"many")
        raise RuntimeError
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_by_the_next():
    process, left = hold()
    end(process)
    assert (left / "weights").exists()
    with scratch_folder():
        assert not left.exists()


def test_what_somebody_holds_stays():
    process, held = hold()
    with scratch_folder():
        assert (held / "weights").exists()
    end(process)


def test_what_is_young_stays_since_its_owner_may_be_about_to_lock_it(temporary):
    young = temporary / "nas-model-young"
    young.mkdir()
    with scratch_folder():
        assert young.exists()


def test_links_are_not_followed(temporary):
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "dear").write_text("kept")
    (temporary / "nas-model-link").symlink_to(elsewhere)
    hour_ago = time.time() - 3600
    os.utime(elsewhere, (hour_ago, hour_ago))
    with scratch_folder():
        assert (elsewhere / "dear").exists()
