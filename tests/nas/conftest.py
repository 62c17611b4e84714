"""The command as a person runs it: a process with arguments, output and an exit code."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Nas = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def nas(tmp_path: Path) -> Nas:
    """Runs `nas ARGUMENTS` in an empty folder, 80 columns wide and without colour."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nas.cli", *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
