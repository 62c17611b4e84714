"""Tests of the error messages of a dashboard that cannot start."""

import socket
from pathlib import Path

import pytest

from tests.nas.conftest import run_nas
from tests.studies.large_study import LargeStudy, write_study


@pytest.mark.parametrize(
    ("arguments", "exists", "sentence"),
    [
        ([], False, "`nas run FILE` creates it"),
        (["nosuch"], False, "`nas run FILE` creates it"),
        (["nosuch"], True, "'nosuch' is not in this database, which holds large; "),
    ],
)
def test_a_missing_study_is_one_sentence(
    tmp_path: Path, arguments: list[str], exists: bool, sentence: str
) -> None:
    if exists:
        write_study(LargeStudy(url=f"sqlite:///{tmp_path}/nas.db", trials=1, references=()))
    result = _refused(tmp_path, *arguments)
    assert result.count("\n") == 1
    assert sentence in result


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    write_study(LargeStudy(url=f"sqlite:///{tmp_path}/nas.db", trials=1, references=()))
    with socket.create_server(("127.0.0.1", 0)) as program:
        port = program.getsockname()[1]
        error = _refused(tmp_path, "--port", str(port))
    assert error == (
        f"nas: port: {port} is in use by another program; choose another one with --port\n"
    )


def _refused(folder: Path, *arguments: str) -> str:
    result = run_nas(folder, "dashboard", "--no-open", *arguments)
    assert result.returncode == 2
    return result.stderr
