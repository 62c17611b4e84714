"""Fixtures that run `nas` as a user does: a process with arguments, output and an exit code."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.nas.tiny_study import write_study

Nas = Callable[..., subprocess.CompletedProcess[str]]


def run_nas(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `nas` in a terminal of 80 columns without colour."""
    return subprocess.run(
        [sys.executable, "-m", "nas.cli", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=600,  # far more than any command takes, even on a busy machine
        check=False,
    )


@pytest.fixture
def nas(tmp_path: Path) -> Nas:
    """Run `nas ARGUMENTS` in an empty folder."""
    return partial(run_nas, tmp_path)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Write the file of a tiny study into the folder in which `nas` runs."""
    return write_study(tmp_path)


@pytest.fixture(scope="session")
def nas_in() -> Nas:
    """Run `nas` in the folder given as the first argument."""
    return run_nas
