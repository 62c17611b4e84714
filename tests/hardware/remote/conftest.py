"""Fixtures: a private folder for agents, and a check that nothing is left behind."""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.remote.bootstrap import FOLDER_VARIABLE
from tests.hardware.conformance import children, write_model
from tests.hardware.remote.raw_agent import RawAgent


@pytest.fixture
def agent_folder(tmp_path_factory, monkeypatch) -> Path:
    """Return the folder below which agents that a test starts keep their files."""
    folder: Path = tmp_path_factory.mktemp("device")
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


@pytest.fixture
def model(tmp_path) -> Path:
    """Return a model file of a few kilobytes."""
    return write_model(tmp_path / "model")


@pytest.fixture
def agent(tmp_path) -> Iterator[RawAgent]:
    """Return a running agent."""
    with RawAgent(tmp_path) as agent:
        yield agent


@pytest.fixture
def nothing_stays(tmp_path_factory, monkeypatch) -> Iterator[None]:
    """Check that a test leaves no process, thread, open file or temporary file behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
    before = _resources()
    yield
    assert _resources() == before


def _resources() -> tuple[set[int], set[Path], set[str], set[Path]]:
    descriptors = set(Path("/proc/self/fd").iterdir())  # with that of the listing itself
    threads = {thread.name for thread in threading.enumerate()}
    return children(), descriptors, threads, set(Path(tempfile.gettempdir()).iterdir())
