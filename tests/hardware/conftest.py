"""Fixtures: a simulated clock, and processes that share lock files."""

from collections.abc import Iterator

import pytest

from hardware import stability
from tests.hardware.clocks import Clock
from tests.hardware.machines import Machine


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stability, "time", clock)
    return clock


@pytest.fixture
def machine(tmp_path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.stop()
