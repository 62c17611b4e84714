"""Standard streams that are closed, full or not read: no result is lost without a word."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from search_space.preset_models import PRESETS

_LONGEST_S = 120.0
_FULL = Path("/dev/full")
needs_full_device = pytest.mark.skipif(not _FULL.exists(), reason="has no device that is full")


def in_shell(
    folder: Path, arguments: str, streams: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `nas ARGUMENTS` from a shell that redirects its streams."""
    return subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -m nas.cli {arguments} {streams}'],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )


@pytest.mark.parametrize("arguments", ["presets", "presets --json", "--help", "--version"])
@needs_full_device
def test_results_that_cannot_be_written_are_an_error(arguments: str, tmp_path: Path) -> None:
    done = in_shell(tmp_path, arguments, "> /dev/full")
    assert done.returncode == 2
    assert done.stderr == "nas: standard output cannot be written: no space left on device\n"


@needs_full_device
def test_messages_that_cannot_be_written_change_nothing_else(tmp_path: Path) -> None:
    assert in_shell(tmp_path, "init full.toml", "2> /dev/full").returncode == 0
    assert in_shell(tmp_path, "init full.toml", "2> /dev/full").returncode == 2
    assert in_shell(tmp_path, "init normal.toml", "").returncode == 0
    named = (tmp_path / "normal.toml").read_text().replace("normal", "full")
    assert (tmp_path / "full.toml").read_text() == named


@pytest.mark.parametrize("arguments", ["presets", "presets --json", "--help"])
def test_a_closed_standard_output_is_no_failure(arguments: str, tmp_path: Path) -> None:
    done = in_shell(tmp_path, arguments, ">&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_without_standard_error_is_no_result(tmp_path: Path) -> None:
    done = in_shell(tmp_path, "show nothing", "2>&-")
    assert (done.returncode, done.stdout) == (2, "")


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    script = (
        "from nas.standard_streams import prepare_streams; prepare_streams(); "
        "file = open('opened', 'w'); file.write(str(file.fileno())); "
        "import os; os.write(2, b'a message'); print('a result')"
    )
    command = f'"{sys.executable}" -c "{script}" <&- >&- 2>&-'
    done = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, timeout=_LONGEST_S, check=False)
    assert done.returncode == 0
    assert int((tmp_path / "opened").read_text()) > 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_the_terminal_lacks_are_escaped(encoding: str, tmp_path: Path) -> None:
    whole = in_shell(tmp_path, "show lfm2-350m", "", PYTHONIOENCODING="utf-8")
    assert not whole.stdout.isascii()
    done = in_shell(tmp_path, "show lfm2-350m", "", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "354,483,968" in done.stdout
    assert "\\u" in done.stdout


def test_a_reader_that_needs_no_more_ends_the_command_silently(tmp_path: Path) -> None:
    done = in_shell(tmp_path, "presets --json", "| true")
    assert done.stderr == ""
    whole = in_shell(tmp_path, "presets --json", "| cat")
    assert {entry["name"] for entry in json.loads(whole.stdout)} == set(PRESETS)
