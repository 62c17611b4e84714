"""Fixtures that run `nas`: with arguments, output and an exit code, as a user does."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import hardware.quiet
from nas.cli import main
from tests.nas.tiny_study import write_study

Nas = Callable[..., subprocess.CompletedProcess[str]]

# A terminal of 80 columns without colour.
_TERMINAL = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}


def run_nas_process(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `nas` in a new process."""
    return subprocess.run(
        [sys.executable, "-m", "nas.cli", *map(str, arguments)],
        cwd=folder,
        env=os.environ | _TERMINAL,
        capture_output=True,
        text=True,
        timeout=600,  # far more than any command takes, even on a busy machine
        check=False,
    )


def run_nas(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `nas` in this process, which takes less time because all libraries are imported already.

    Trainings do not wait for what other tests measure at the same time.
    """
    command = ["nas", *map(str, arguments)]
    out, errors = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
    ):
        patch.chdir(folder)
        for name, value in _TERMINAL.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", command)
        patch.setattr(hardware.quiet, "_machine_folder", lambda: folder)
        # `python -m pytest` is a package too, and would be shown as the name of the program.
        patch.setattr(sys.modules["__main__"], "__package__", None)
        with pytest.raises(SystemExit) as ended:
            main()
    code = ended.value.code or 0
    assert isinstance(code, int)
    return subprocess.CompletedProcess(command, code, out.getvalue(), errors.getvalue())


@pytest.fixture
def nas(tmp_path: Path) -> Nas:
    """Run `nas ARGUMENTS` in an empty folder."""
    return partial(run_nas, tmp_path)


@pytest.fixture
def nas_process(tmp_path: Path) -> Nas:
    """Run `nas ARGUMENTS` like `nas`, but in a new process; one test of each command does so."""
    return partial(run_nas_process, tmp_path)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Write the file of a tiny study into the folder in which `nas` runs."""
    return write_study(tmp_path)


@pytest.fixture(scope="session")
def nas_in() -> Nas:
    """Run `nas` in a new process in the folder given as the first argument."""
    return run_nas_process
